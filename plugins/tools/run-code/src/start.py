# Starts a program: `code TEXT …`, `path FILE …` or `module NAME …`, in the module `__main__`, as Python itself does. Besides, it mends
# what a sandbox without sockets and devices breaks without need: asyncio's event loop, and /dev/null.
def start():
    import builtins, io, os, runpy, sys
    from time import sleep

    def told(kind, error, trace):
        import traceback
        while trace is not None and trace.tb_frame.f_code.co_filename in ("<string>", "<frozen runpy>"):
            trace = trace.tb_next
        lines = list(traceback.TracebackException(kind, error, trace).format())
        if len(lines) > 60:
            lines[20:-30] = [f"  … {len(lines) - 50} more calls …\n"]
        print("".join(lines), end="", file=sys.stderr)

    class Nothing(io.RawIOBase):
        name = os.devnull
        readable = writable = seekable = lambda self: True
        readinto = seek = tell = truncate = lambda self, *_: 0
        write = lambda self, data: len(data)

    real_open = io.open

    def open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if file != os.devnull:
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        nothing = io.BufferedRandom(Nothing())
        return nothing if "b" in mode else io.TextIOWrapper(nothing, encoding or "utf-8", errors, newline)

    io.open = builtins.open = open

    # The loop sleeps until its next timer: there is no file that could become ready, and nobody who could wake it.
    class Loop:
        def find_spec(self, name, path=None, target=None):
            if name != "asyncio.selector_events":
                return None
            sys.meta_path.remove(self)
            found = next(filter(None, (finder.find_spec(name, path, target) for finder in sys.meta_path)), None)
            load = found.loader.exec_module
            found.loader.exec_module = lambda module: (load(module), self.mend(module))
            return found

        def mend(self, module):
            class Sleeping(module.selectors._BaseSelectorImpl):
                def select(self, timeout=None):
                    if timeout is None:
                        raise RuntimeError("every task waits for something that nothing will bring about: the program would wait for ever")
                    sleep(max(0, timeout))
                    return []

            loop = module.BaseSelectorEventLoop
            make = loop.__init__
            loop.__init__ = lambda self, selector=None: make(self, selector or Sleeping())
            loop._make_self_pipe = lambda self: setattr(self, "_csock", None)
            loop._close_self_pipe = loop._write_to_self = lambda self: None

    sys.meta_path.insert(0, Loop())
    sys.executable = sys.executable or "python"
    # What a system says that knows no users.
    os.getuid = lambda: -1
    sys.excepthook = told
    way, what = sys.argv[1:3]
    del sys.argv[1:3]
    main = sys.modules["__main__"].__dict__
    del main["start"]
    if what == "pytest":
        # Its temporary folders are none of the workspace's files.
        import atexit, shutil, tempfile
        os.environ["PYTEST_DEBUG_TEMPROOT"] = folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if way == "module":
        sys.path[0] = os.getcwd()
        return lambda: runpy._run_module_as_main(what)
    name = sys.argv[0] = "main.py" if way == "code" else what
    if way == "path":
        sys.path[0] = os.path.dirname(what)
        try:
            with io.open_code(what) as file:
                what = file.read()
        except OSError as error:
            sys.exit(f"{name} can not be read: {error}")
    else:
        import linecache
        for known in (name, "/" + name):
            linecache.cache[known] = (len(what), None, what.splitlines(True), known)
    main["__file__"] = "/" + name.lstrip("/")
    return lambda: exec(compile(what, name, "exec", dont_inherit=True), main)


start()()
