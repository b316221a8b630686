"use strict";
// Functions that note their calls: `jest.fn` and `jest.spyOn`, which vitest has as `vi`, and `mock` of node:test.
(() => {
  // --- as jest and vitest have them ----------------------------------------------------------------------------------------
  const spies = [];
  const fn = (make = () => undefined) => {
    const once = [];
    const mock = Object.assign(function (...values) {
      mock.mock.calls.push(values);
      try {
        const value = (once.shift() ?? make).apply(this, values);
        mock.mock.results.push({ type: "return", value });
        return value;
      } catch (error) { mock.mock.results.push({ type: "throw", value: error }); throw error; }
    }, { mock: { calls: [], results: [] } });
    const then = (next) => (...values) => { next(...values); return mock; };
    return Object.assign(mock, {
      mockImplementation: then((next) => { make = next; }), mockImplementationOnce: then((next) => { once.push(next); }),
      mockReturnValue: then((value) => { make = () => value; }), mockReturnValueOnce: then((value) => { once.push(() => value); }),
      mockResolvedValue: then((value) => { make = async () => value; }), mockRejectedValue: then((error) => { make = async () => { throw error; }; }),
      mockClear: then(() => { mock.mock.calls.length = mock.mock.results.length = 0; }), mockReset: then(() => { mock.mockClear(); once.length = 0; make = () => undefined; }),
    });
  };
  const spyOn = (object, name) => {
    const before = object[name], spy = fn(before);
    object[name] = spy;
    spy.mockRestore = () => { object[name] = before; };
    spies.push(spy);
    return spy;
  };
  // The last one first: what was spied on twice is what it was before the first.
  const restoreAllMocks = () => spies.splice(0).reverse().forEach((spy) => spy.mockRestore());
  const jest = { fn, spyOn, restoreAllMocks, clearAllMocks: () => spies.forEach((spy) => spy.mockClear()), setTimeout: () => jest };

  // --- as node:test has them -----------------------------------------------------------------------------------------------
  // What makes them, and takes back those that it has made.
  const tracker = () => {
    const made = [];
    const noting = (original, implementation, undo) => {
      const calls = [], once = new Map();
      let make = implementation;
      const mock = function (...values) {
        const call = { arguments: values, this: this, target: new.target, result: undefined, error: undefined, stack: new Error() };
        const work = once.get(calls.length) ?? make;
        once.delete(calls.length);
        try {
          call.result = new.target ? Reflect.construct(work, values) : work.apply(this, values);
          return call.result;
        } catch (error) { call.error = error; throw error; } finally { calls.push(call); }
      };
      mock.mock = {
        get calls() { return [...calls]; },
        callCount: () => calls.length, resetCalls: () => { calls.length = 0; },
        mockImplementation: (next) => { make = next; }, mockImplementationOnce: (next, at = calls.length) => { once.set(at, next); },
        restore: () => { make = original; once.clear(); undo?.(); },
      };
      made.push(mock);
      return mock;
    };
    const isWork = (value) => typeof value === "function";
    const restoreAll = () => made.toReversed().forEach((mock) => mock.mock.restore());
    return {
      fn: (...values) => { const [original = () => undefined, implementation = original] = values.filter(isWork); return noting(original, implementation); },
      method: (object, name, implementation) => {
        const own = Object.getOwnPropertyDescriptor(object, name), before = object[name];
        if (!isWork(before)) throw new TypeError(`mock.method: ${String(name)} is not a method`);
        const undo = () => (own ? Object.defineProperty(object, name, own) : delete object[name]);
        const mock = noting(before, isWork(implementation) ? implementation : before, undo);
        Object.defineProperty(object, name, { value: mock, writable: true, configurable: true, enumerable: own?.enumerable ?? false });
        return mock;
      },
      restoreAll, reset: () => { restoreAll(); made.length = 0; },
    };
  };
  return { jest, tracker };
})
