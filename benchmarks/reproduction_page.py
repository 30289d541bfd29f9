"""Tables and curve of docs/reproduction.md, from the results of reproduce.py."""


def write_page(page, results):
    raise NotImplementedError
