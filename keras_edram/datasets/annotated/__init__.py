"""The user's own pictures, and where which objects are on them.

From a folder to the batches of a training, and who calls whom:

    folder              a folder, its splits        -> `AnnotatedPictures`
      annotations       a folder's annotations      -> `AnnotatedPicture`s
        formats         one of its formats' files   -> `Entry`s, `Problem`s
          entries       what all formats say, and how they say what is wrong
          lookup        finds the picture that another machine's path means
          paired_files  formats with a file beside each picture
          unread        formats that are known, but not read, and what to do
      annotated_pictures  `AnnotatedPicture`s       -> images and targets
      split_problems    what is wrong between the splits

A format (`coco`, `yolo`, `voc`, `cvat`, `csv_table`) is a module with a
`FORMAT`, and a line in the table of `formats`. It reads text alone: pictures
are opened by `annotations`, which checks each, and by `annotated_pictures`.
"""
