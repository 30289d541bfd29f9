"""A reader for the part of the pickle language that a file of tensors needs. It imports nothing and calls nothing.

Python's own unpickler cannot be made safe for a file from a stranger. One opcode makes its memo allocate gigabytes.
Another makes it reserve whatever length the file declares. Every long value stays in memory until the end.

This one knows the opcodes that protocols 2 to 5 use for plain values and objects. It checks every length against the
file before it reads. It leaves long byte strings where they are (`Blob`). It hands globals to the caller, who gives
inert stand-ins (`Callee`) or refuses.
"""

import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

MOST_OPCODES = 500_000  # a 512 px file of three networks has about 150,000
LONGEST_TEXT = 4 << 20  # bytes; the longest in published files is a source text of some 50,000
MOST_TEXT = 64 << 20  # bytes of all texts and short byte strings together
LONG_BYTES = 4096  # byte strings from here on stay in the file
KEYS = (str, int, bool, float, bytes, type(None))  # hashing these cannot recurse; hashing a deep tuple can
LONGEST_NAME = 1000  # characters of a key
LARGEST_KEY = 1 << 60  # equal hashes of larger integers are easily found, and make a dict take hours


class PickleError(ValueError):
    """What is wrong with a pickle, in one line, without the name of its file."""

    def __init__(self, reason: str):
        super().__init__(one_line(reason))


def one_line(text: str, most: int = 400) -> str:
    """A text that may quote a hostile file, fit for a terminal: no line breaks, no control characters, not long."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:most])


@dataclass(frozen=True)
class Blob:
    """A long byte string, not read yet: `length` bytes at `offset` of the file."""

    offset: int
    length: int


@dataclass(frozen=True)
class Callee:
    """Stands for a global. `call` takes the arguments of a REDUCE, `new` makes an empty object for a NEWOBJ."""

    name: str
    call: Callable | None = None
    new: Callable | None = None


class Buildable:
    """An object of a stand-in that a BUILD may give its state to."""

    def build(self, state) -> None:
        raise NotImplementedError


Find = Callable[[str, str], Callee | None]
_MARK = object()


def parse(
    file: BinaryIO, find: Find, start: int = 0, end: int | None = None, persistent: Callable | None = None
) -> tuple[object, int]:
    """One pickle in a seekable file: (its value, offset behind it).

    Args:
        find: (module, name) of a global -> stand-in; raises PickleError for one that has no place here.
        start, end: the bytes that may be read; end None: to the end of the file.
        persistent: persistent id -> value; None: there must be none.
    Errors: PickleError, one line, for everything that is not right with the bytes.
    """
    if end is None:
        end = file.seek(0, 2)
    machine = _Machine(file, find, start, end, persistent)
    with only_pickle_errors():
        return machine.run(), machine.position


@contextmanager
def only_pickle_errors() -> Iterator[None]:
    """Turns the errors that code meets in values of the wrong kind into PickleError."""
    try:
        yield
    except PickleError:
        raise
    except (  # RuntimeError: PyTorch's; MemoryError: of one request that was too large
        TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError, struct.error,
    ) as error:  # fmt: skip
        raise PickleError(f"damaged ({type(error).__name__}: {' '.join(str(error)[:200].split())})") from None


class _Machine:
    """The stack machine of the pickle language (documented in Python's pickletools), cut down."""

    def __init__(self, file, find, start, end, persistent):
        self.file, self.find, self.persistent = file, find, persistent
        self.position, self.end = start, end
        self.stack, self.memo, self.text = [], {}, 0
        file.seek(start)

    def run(self):
        actions = {code: getattr(self, name) for code, name in _ACTIONS.items()}
        for _ in range(MOST_OPCODES):
            code = self.take(1)
            if code == pickle.STOP:
                if len(self.stack) != 1:
                    raise PickleError(f"it ends with {len(self.stack)} values instead of one")
                return self.pop()
            if code not in actions:
                raise PickleError(f"opcode {code!r} at byte {self.position - 1} has no place in a file of tensors")
            actions[code]()
        raise PickleError(f"it has more than {MOST_OPCODES} opcodes, no file of tensors needs so many")

    # ---------------------------------------------------------- bytes

    def take(self, count: int) -> bytes:
        self.check(count)
        self.position += count
        data = self.file.read(count)
        if len(data) != count:
            raise PickleError("it was cut short")
        return data

    def check(self, count: int) -> None:
        if not 0 <= count <= self.end - self.position:
            raise PickleError(f"it declares {count} bytes at byte {self.position}, where only "
                              f"{self.end - self.position} are left: cut short, or damaged")  # fmt: skip

    def number(self, kind: str):
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def value(self, length: int) -> bytes:
        """A short byte string or the bytes of a text."""
        self.check(length)
        self.text += length
        if length > LONGEST_TEXT or self.text > MOST_TEXT:
            raise PickleError(f"its texts are too long (one of {length} bytes)")
        return self.take(length)

    def line(self) -> str:
        data = self.file.readline(256)
        self.position += len(data)
        if not data.endswith(b"\n") or self.position > self.end:
            raise PickleError("it names a global that is cut short, or too long")
        return data[:-1].decode()

    # ---------------------------------------------------------- stack

    def push(self, value) -> None:
        self.stack.append(value)

    def pop(self):
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("damaged: a mark where a value should be")
        return value

    def top(self):
        return self.stack[-1]

    def marked(self) -> list:
        """The values above the last mark, which are taken off with it."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                values = self.stack[at + 1 :]
                del self.stack[at:]
                return values
        raise PickleError("damaged: a mark is missing")

    # ---------------------------------------------------------- plain values

    def ignore_frame(self):
        self.check(self.number("<Q"))  # a frame only says how many bytes to read ahead

    def protocol(self):
        if not 2 <= self.number("B") <= 5:
            raise PickleError("its pickle protocol is none of 2 to 5")

    def mark(self):
        self.push(_MARK)

    def drop(self):
        self.stack.pop()

    def drop_marked(self):
        self.marked()

    def none(self):
        self.push(None)

    def true(self):
        self.push(True)

    def false(self):
        self.push(False)

    def int1(self):
        self.push(self.number("B"))

    def int2(self):
        self.push(self.number("<H"))

    def int4(self):
        self.push(self.number("<i"))

    def long1(self):
        self.push(int.from_bytes(self.take(self.number("B")), "little", signed=True))

    def real(self):
        self.push(self.number(">d"))

    def text1(self):
        self.push(self.value(self.number("B")).decode("utf-8", "surrogatepass"))

    def text4(self):
        self.push(self.value(self.number("<I")).decode("utf-8", "surrogatepass"))

    def text8(self):
        self.push(self.value(self.number("<Q")).decode("utf-8", "surrogatepass"))

    def bytes1(self):
        self.bytes_of(self.number("B"))

    def bytes4(self):
        self.bytes_of(self.number("<I"))

    def bytes8(self):
        self.bytes_of(self.number("<Q"))

    def bytes_of(self, length: int):
        if length < LONG_BYTES:
            self.push(self.value(length))
            return
        self.check(length)
        self.push(Blob(self.position, length))
        self.position += length
        self.file.seek(self.position)

    # ---------------------------------------------------------- containers

    def empty_tuple(self):
        self.push(())

    def tuple1(self):
        self.tuple_of(1)

    def tuple2(self):
        self.tuple_of(2)

    def tuple3(self):
        self.tuple_of(3)

    def tuple_of(self, count: int):
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def tuple_marked(self):
        self.push(tuple(self.marked()))

    def empty_list(self):
        self.push([])

    def append(self):
        value = self.pop()
        self.container(list).append(value)

    def appends(self):
        values = self.marked()
        self.container(list).extend(values)

    def empty_dict(self):
        self.push({})

    def set_item(self):
        value, key = self.pop(), self.pop()
        self.container(dict)[self.key(key)] = value

    def set_items(self):
        values = self.marked()
        if len(values) % 2:
            raise PickleError("damaged: a key without a value")
        target = self.container(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[self.key(key)] = value

    def empty_set(self):
        self.push(set())

    def add_items(self):
        values = self.marked()
        self.container(set).update(self.key(value) for value in values)

    def container(self, kind: type):
        if not isinstance(self.top(), kind):
            raise PickleError(f"damaged: items for a {kind.__name__} are given to something else")
        return self.top()

    @staticmethod
    def key(value):
        if type(value) not in KEYS:
            raise PickleError("a key is neither text nor number")
        if type(value) is str and not (len(value) <= LONGEST_NAME and value.isprintable()):
            raise PickleError("a name is too long, or has characters that cannot be printed")
        if type(value) is int and abs(value) >= LARGEST_KEY:
            raise PickleError("a number is too large for a key")
        return value

    # ---------------------------------------------------------- memo

    def get1(self):
        self.push(self.memo[self.number("B")])

    def get4(self):
        self.push(self.memo[self.number("<I")])

    def put1(self):
        self.memo[self.number("B")] = self.remembered()

    def put4(self):
        index = self.number("<I")
        if index > MOST_OPCODES:
            raise PickleError(f"it remembers a value as its number {index}, no file of tensors has so many")
        self.memo[index] = self.remembered()

    def memoize(self):
        self.memo[len(self.memo)] = self.remembered()

    def remembered(self):
        if self.top() is _MARK:
            raise PickleError("damaged: a mark where a value should be")
        return self.top()

    # ---------------------------------------------------------- objects

    def global_of_lines(self):
        module = self.line()
        self.push(self.find(module, self.line()))

    def global_of_stack(self):
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise PickleError("damaged: the name of a global is no text")
        self.push(self.find(module, name))

    def reduce(self):
        arguments, callee = self.pop(), self.pop()
        if not isinstance(callee, Callee) or callee.call is None or type(arguments) is not tuple:
            raise PickleError("it calls something that is no function of a file of tensors")
        self.push(callee.call(*arguments))

    def new_object(self):
        arguments, callee = self.pop(), self.pop()
        if type(callee) is not Callee or callee.new is None or arguments != ():
            raise PickleError("it makes an object that has no place in a file of tensors")
        self.push(callee.new())

    def build(self):
        state, target = self.pop(), self.top()
        if not isinstance(target, Buildable):
            raise PickleError("it sets the state of something that has none")
        target.build(state)

    def persistent_id(self):
        if self.persistent is None:
            raise PickleError("it has a persistent id, which has no place here")
        self.push(self.persistent(self.pop()))


_ACTIONS = {
    pickle.PROTO: "protocol", pickle.FRAME: "ignore_frame", pickle.MARK: "mark", pickle.POP: "drop",
    pickle.POP_MARK: "drop_marked", pickle.NONE: "none", pickle.NEWTRUE: "true", pickle.NEWFALSE: "false",
    pickle.BININT1: "int1", pickle.BININT2: "int2", pickle.BININT: "int4", pickle.LONG1: "long1",
    pickle.BINFLOAT: "real", pickle.SHORT_BINUNICODE: "text1", pickle.BINUNICODE: "text4",
    pickle.BINUNICODE8: "text8", pickle.SHORT_BINBYTES: "bytes1", pickle.BINBYTES: "bytes4",
    pickle.BINBYTES8: "bytes8", pickle.EMPTY_TUPLE: "empty_tuple", pickle.TUPLE1: "tuple1", pickle.TUPLE2: "tuple2",
    pickle.TUPLE3: "tuple3", pickle.TUPLE: "tuple_marked", pickle.EMPTY_LIST: "empty_list", pickle.APPEND: "append",
    pickle.APPENDS: "appends", pickle.EMPTY_DICT: "empty_dict", pickle.SETITEM: "set_item",
    pickle.SETITEMS: "set_items", pickle.EMPTY_SET: "empty_set", pickle.ADDITEMS: "add_items",
    pickle.BINGET: "get1", pickle.LONG_BINGET: "get4", pickle.BINPUT: "put1", pickle.LONG_BINPUT: "put4",
    pickle.MEMOIZE: "memoize", pickle.GLOBAL: "global_of_lines", pickle.STACK_GLOBAL: "global_of_stack",
    pickle.REDUCE: "reduce", pickle.NEWOBJ: "new_object", pickle.BUILD: "build", pickle.BINPERSID: "persistent_id",
}  # fmt: skip
