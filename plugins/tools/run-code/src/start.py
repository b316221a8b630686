import sys, linecache
code = sys.argv.pop(1)
sys.argv[0] = "main.py"
linecache.cache["main.py"] = (len(code), None, code.splitlines(True), "main.py")
def told(kind, error, trace):
    import traceback
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)
sys.excepthook = told
del sys.modules["__main__"].__dict__["told"]
main = {"__name__": "__main__", "__builtins__": __builtins__, "__doc__": None, "__file__": "/main.py"}
exec(compile(code, "main.py", "exec"), main)
