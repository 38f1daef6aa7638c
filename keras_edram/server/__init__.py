"""The server: what is asked of it, how it answers, its limits, its page.

Only the command imports what is in here, for it needs the extra `serve`.
"""
