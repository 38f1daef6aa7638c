"""Questions that come while others are answered are answered together.

A model takes hardly longer for a batch than for an image, so what waits for it
is joined. Own code: KServe's batcher stands beside the server, in a process of
its own, and Ray Serve is a server of its own; `batched` and `async-batcher`
were last released in 2025, count questions where images count, wait although
nothing else is asked, and let a bad question spoil the answers to others.
"""

import concurrent.futures
import threading


class Batcher:
    """A thread that answers questions, those that wait together.

    A question that comes while nothing is answered goes at once. Those with
    images of another size wait for a turn of theirs. If a batch
    cannot be answered, each of its questions is answered alone, so that only
    those fail that must. Who does not wait any more is left out.

    Args:
        answer: Function of a list of questions that returns a list of their
            answers.
        max_images: Function of the `(H, W, C)` of images: how many make a
            batch; a question with more is alone.

    Example:

    >>> from keras_edram.server.requests import Question
    >>> batcher = Batcher(lambda questions: questions, lambda shape: 32)
    >>> batcher.ask(Question(images)).result().images.shape
    (5, 100, 100, 1)
    >>> batcher.close()
    """

    def __init__(self, answer, max_images):
        self._answer = answer
        self._max_images = max_images
        self._waiting = {}  # future -> question, in the order of asking
        self._lock = threading.Lock()  # of those that wait
        # One: TensorFlow uses all cores by itself.
        self._worker = concurrent.futures.ThreadPoolExecutor(max_workers=1)

    def ask(self, question):
        """Asks, and does not wait.

        Args:
            question: `keras_edram.server.requests.Question`.

        Returns:
            `concurrent.futures.Future` of the answer. Who does not wait for it
            any more cancels it.
        """
        future = concurrent.futures.Future()
        with self._lock:
            self._waiting[future] = question
        future.add_done_callback(self._forget)  # if it is cancelled
        # A turn for each: if others took its question along, it does nothing.
        self._worker.submit(self._turn)
        return future

    def close(self):
        """Answers nothing any more, but what is being answered."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _forget(self, future):
        with self._lock:
            self._waiting.pop(future, None)

    def _turn(self):
        batch = [
            (future, question)
            for future, question in self._next()
            if future.set_running_or_notify_cancel()
        ]
        if batch:
            self._answer_all(batch)

    def _next(self):
        """The first of those that wait, and as many others as fit."""
        batch, shape, free = [], None, 0
        with self._lock:
            for future, question in self._waiting.items():
                if not batch:
                    shape = question.images.shape[1:]
                    free = self._max_images(shape)
                if question.images.shape[1:] != shape:
                    continue
                free -= len(question.images)
                if batch and free < 0:
                    break
                batch.append((future, question))
            for future, _ in batch:
                del self._waiting[future]
        return batch

    def _answer_all(self, batch):
        futures, questions = zip(*batch, strict=True)
        try:
            answers = self._answer(list(questions))
        except Exception as error:
            if len(batch) == 1:
                futures[0].set_exception(error)
                return
            for one in batch:
                self._answer_all([one])
        else:
            for future, answer in zip(futures, answers, strict=True):
                future.set_result(answer)
