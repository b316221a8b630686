"use strict";
// What `assert` is in Node, and how two values are compared. Shared by the prelude and by `testing.js`.
globalThis.__assert = (inspect, quoted) => {
  class AssertionError extends Error { name = "AssertionError"; code = "ERR_ASSERTION"; }
  // `abstract` is what == is; `strict` looks at prototypes, too; `loose` does not see what is undefined; `like` may decide by itself.
  function isDeepEqual(a, b, how, seen = []) {
    const decided = how.like?.(a, b);
    if (decided !== undefined) return decided;
    if (Object.is(a, b) || (how.abstract && a == b)) return true;
    if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
    if (how.strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
    if (seen.some(([x, y]) => x === a && y === b)) return true;
    const within = [...seen, [a, b]], same = (a, b) => isDeepEqual(a, b, how, within), both = (type) => a instanceof type && b instanceof type;
    for (const type of [Date, RegExp, Error, Map, Set, ArrayBuffer, DataView, Number, String, Boolean]) if (a instanceof type !== b instanceof type) return false;
    if (both(Date)) return Object.is(a.getTime(), b.getTime());
    if (both(RegExp)) return String(a) === String(b);
    if (both(Error)) return a.message === b.message && a.name === b.name;
    if ([Number, String, Boolean].some(both) && !Object.is(a.valueOf(), b.valueOf())) return false;
    if (both(ArrayBuffer)) return same(new Uint8Array(a), new Uint8Array(b));
    if (both(DataView)) return same(new Uint8Array(a.buffer, a.byteOffset, a.byteLength), new Uint8Array(b.buffer, b.byteOffset, b.byteLength));
    if (both(Set)) return a.size === b.size && [...a].every((one) => b.has(one) || [...b].some((other) => same(one, other)));
    if (both(Map)) return a.size === b.size && [...a].every(([key, value]) => (b.has(key) ? same(value, b.get(key)) : [...b].some(([k, v]) => same(key, k) && same(value, v))));
    const names = (value) => Reflect.ownKeys(value).filter((name) => Object.prototype.propertyIsEnumerable.call(value, name) && !(how.loose && value[name] === undefined));
    const [left, right] = [names(a), names(b)];
    return a.length === b.length && left.length === right.length && left.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]));
  }
  const check = (fine, message, told) => { if (!fine) throw message instanceof Error ? message : new AssertionError(message ?? told()); };
  const both = (what, a, b) => () => `${what}:\n  actual:   ${inspect(a, 1)}\n  expected: ${inspect(b, 1)}`;
  const isTrue = (value, message) => check(value, message, () => `${inspect(value, 1)} is not true`);
  // Whether what was thrown is what was expected: by its class, its text, some of its properties, or a function that says so.
  const isExpected = (error, expected) => {
    if (expected === undefined || typeof expected === "string") return true;
    if (expected instanceof RegExp) return expected.test(String(error));
    if (typeof expected === "function") return expected.prototype !== undefined && error instanceof expected ? true : Error.isPrototypeOf(expected) ? false : expected.call({}, error) === true;
    return [...Object.keys(expected), ...(expected instanceof Error ? ["name", "message"] : [])].every((name) => (expected[name] instanceof RegExp ? expected[name].test(error?.[name]) : isDeepEqual(error?.[name], expected[name], { strict: true })));
  };
  const thrown = (error, expected, message) => {
    if (!isExpected(error, expected)) check(false, message, () => `what is thrown is not what is expected:\n  actual:   ${error instanceof Error ? String(error) : inspect(error, 1)}\n  expected: ${inspect(expected, 1)}`);
  };
  const called = (work) => (typeof work === "function" ? work() : work);
  const assert = Object.assign((value, message) => isTrue(value, message), {
    AssertionError,
    ok: isTrue,
    equal: (a, b, message) => check(a == b || (Number.isNaN(a) && Number.isNaN(b)), message, both("they are not equal", a, b)),
    notEqual: (a, b, message) => check(a != b, message, both("they are equal", a, b)),
    strictEqual: (a, b, message) => check(Object.is(a, b), message, both("they are not strictly equal", a, b)),
    notStrictEqual: (a, b, message) => check(!Object.is(a, b), message, both("they are strictly equal", a, b)),
    deepEqual: (a, b, message) => check(isDeepEqual(a, b, { abstract: true }), message, both("they are not deeply equal", a, b)),
    notDeepEqual: (a, b, message) => check(!isDeepEqual(a, b, { abstract: true }), message, both("they are deeply equal", a, b)),
    deepStrictEqual: (a, b, message) => check(isDeepEqual(a, b, { strict: true }), message, both("they are not deeply equal", a, b)),
    notDeepStrictEqual: (a, b, message) => check(!isDeepEqual(a, b, { strict: true }), message, both("they are deeply equal", a, b)),
    match: (text, pattern, message) => check(pattern.test(text), message, () => `${quoted(String(text))} does not match ${pattern}`),
    doesNotMatch: (text, pattern, message) => check(!pattern.test(text), message, () => `${quoted(String(text))} matches ${pattern}`),
    fail: (message) => check(false, message, () => "Failed"),
    ifError: (value) => { if (value != null) throw value; },
    throws: (work, expected, message) => {
      try { work(); } catch (error) { return thrown(error, expected, message); }
      check(false, typeof expected === "string" ? expected : message, () => "it does not throw");
    },
    doesNotThrow: (work, message) => { try { work(); } catch (error) { check(false, typeof message === "string" ? message : undefined, () => `it throws ${error instanceof Error ? String(error) : inspect(error, 1)}`); } },
    rejects: async (work, expected, message) => {
      try { await called(work); } catch (error) { return thrown(error, expected, message); }
      check(false, message, () => "it is not rejected");
    },
    doesNotReject: async (work) => { try { await called(work); } catch (error) { check(false, undefined, () => `it is rejected with ${error instanceof Error ? String(error) : inspect(error, 1)}`); } },
  });
  assert.strict = Object.assign((value, message) => isTrue(value, message), assert, { equal: assert.strictEqual, notEqual: assert.notStrictEqual, deepEqual: assert.deepStrictEqual, notDeepEqual: assert.notDeepStrictEqual });
  assert.strict.strict = assert.strict;
  return { assert, isDeepEqual };
};
