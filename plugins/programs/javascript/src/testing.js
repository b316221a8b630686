"use strict";
// What test files of public exercises use: `describe`, `test`, `expect` and their kin, by the names that jest, vitest, mocha and node:test
// give them. Loaded when it is first asked for. The tests run when the program's own code is at its end; a failure makes the exit code 1.
((kit) => {
  const { inspect, isDeepEqual, out, errorText } = kit, { jest, tracker } = kit.mocks;
  const show = (value) => (typeof value === "string" ? JSON.stringify(value) : inspect(value, 1));

  // --- what is expected ---------------------------------------------------------------------------------------------------
  class Failed extends Error { name = "AssertionError"; }
  class Like { constructor(fits, told) { this.fits = fits; this.told = told; } }
  // As toEqual compares: properties that are undefined are not there, and what is like something is asked whether it fits.
  const likes = (a, b) => (b instanceof Like ? b.fits(a) : a instanceof Like ? a.fits(b) : undefined);
  const equals = (a, b, strict) => isDeepEqual(a, b, { strict, loose: !strict, like: likes });
  // As toMatchObject compares: of plain objects the properties that are named, of all else the whole.
  const WHOLE = [Like, Array, Date, RegExp, Error, Map, Set, ArrayBuffer, Number, String, Boolean];
  const isSome = (value) => typeof value === "object" && value !== null && !ArrayBuffer.isView(value) && !WHOLE.some((type) => value instanceof type);
  const contains = (whole, part) => isDeepEqual(whole, part, { loose: true, like: (a, b) => likes(a, b) ?? (isSome(b) ? hasAll(a, b, contains) : undefined) });
  const hasAll = (whole, part, same) => (typeof whole === "object" ? whole !== null : typeof whole === "function") && Object.keys(part).every((name) => name in whole && same(whole[name], part[name]));
  const at = (value, path) => {
    const steps = Array.isArray(path) ? path : String(path).replace(/\[(\w+)\]/g, ".$1").split(".");
    let there = true;
    for (const step of steps) {
      there = value != null && step in Object(value);
      value = there ? value[step] : undefined;
      if (!there) break;
    }
    return [there, value];
  };
  const fitsError = (error, wanted) => {
    const message = String(error?.message ?? error);
    if (wanted === undefined) return true;
    if (typeof wanted === "string") return message.includes(wanted);
    if (wanted instanceof RegExp) return wanted.test(message);
    if (typeof wanted === "function") return error instanceof wanted;
    if (wanted instanceof Like) return wanted.fits(error);
    return message === String(wanted?.message);
  };
  const named = (wanted) => (typeof wanted === "function" ? wanted.name : wanted instanceof Error ? `an error with ${show(wanted.message)}` : wanted instanceof Like ? wanted.told : show(wanted));
  const calls = (mock) => mock?.mock?.calls.map((call) => call.arguments ?? call) ?? (() => { throw new TypeError("a function of jest.fn() is expected"); })();
  // Each: whether it fits, and what is told where it does not.
  const matchers = {
    toBe: (a, b) => [Object.is(a, b), b],
    toEqual: (a, b) => [equals(a, b, false), b],
    toStrictEqual: (a, b) => [equals(a, b, true), b],
    toBeCloseTo: (a, b, digits = 2) => [a === b || Math.abs(a - b) < 10 ** -digits / 2, b],
    toBeNull: (a) => [a === null], toBeUndefined: (a) => [a === undefined], toBeDefined: (a) => [a !== undefined], toBeNaN: (a) => [Number.isNaN(a)],
    toBeTruthy: (a) => [Boolean(a)], toBeFalsy: (a) => [!a],
    toBeGreaterThan: (a, b) => [a > b, b], toBeGreaterThanOrEqual: (a, b) => [a >= b, b], toBeLessThan: (a, b) => [a < b, b], toBeLessThanOrEqual: (a, b) => [a <= b, b],
    toBeInstanceOf: (a, b) => [a instanceof b, named(b), true], toBeTypeOf: (a, b) => [typeof a === b, b],
    toContain: (a, b) => [typeof a === "string" ? a.includes(b) : [...a].some((one) => one === b || Object.is(one, b)), b],
    toContainEqual: (a, b) => [[...a].some((one) => equals(one, b, false)), b],
    toHaveLength: (a, b) => [a?.length === b, b],
    toMatch: (a, b) => [b instanceof RegExp ? b.test(a) : String(a).includes(b), b],
    toMatchObject: (a, b) => [contains(a, b), b],
    toHaveProperty: (a, path, ...value) => { const [there, found] = at(a, path); return [there && (value.length === 0 || equals(found, value[0], false)), value.length ? value[0] : path]; },
    toThrow(work, wanted) {
      let error, thrown = false;
      // Only what a promise was rejected with was thrown before; nothing else that is no function can throw.
      if (this.waited === "rejects.") [error, thrown] = [work, true];
      else if (typeof work === "function") try { work(); } catch (caught) { [error, thrown] = [caught, true]; }
      else if (this.waited === undefined) throw new TypeError(`expect(received).toThrow(): received must be a function, and is ${show(work)}`);
      return [thrown && fitsError(error, wanted), wanted === undefined ? "that it throws" : `that it throws ${named(wanted)}`, true, thrown ? `it throws ${error instanceof Error ? error : show(error)}` : "it does not throw"];
    },
    toSatisfy: (a, fits) => [Boolean(fits(a))],
    toHaveBeenCalled: (a) => [calls(a).length > 0], toHaveBeenCalledOnce: (a) => [calls(a).length === 1],
    toHaveBeenCalledTimes: (a, b) => [calls(a).length === b, b, false, `${calls(a).length} calls`],
    toHaveBeenCalledWith: (a, ...b) => [calls(a).some((values) => equals(values, b, false)), b, false, `calls with ${show(calls(a))}`],
    toHaveBeenLastCalledWith: (a, ...b) => [equals(calls(a).at(-1), b, false), b, false, `calls with ${show(calls(a))}`],
    toHaveBeenNthCalledWith: (a, n, ...b) => [equals(calls(a)[n - 1], b, false), b, false, `calls with ${show(calls(a))}`],
    toHaveReturnedWith: (a, b) => [a.mock.results.some((one) => one.type === "return" && equals(one.value, b, false)), b],
  };
  matchers.toThrowError = matchers.toThrow;
  let asserted = 0;
  const matcher = (name, actual, turned, waited) => (...wanted) => {
    asserted += 1;
    const [fits, expected, isText, received] = matchers[name].call({ waited }, actual, ...wanted);
    if (Boolean(fits) !== turned) return;
    const lines = [`expect(received).${waited ?? ""}${turned ? "not." : ""}${name}(${wanted.length ? "expected" : ""})`];
    if (wanted.length || isText) lines.push(`  Expected: ${turned ? "not " : ""}${isText ? expected : show(expected)}`);
    lines.push(`  Received: ${received ?? show(actual)}`);
    throw new Failed(lines.join("\n"));
  };
  const unknown = (name) => { throw new TypeError(`expect(…).${String(name)} is not there; there are ${Object.keys(matchers).join(", ")}`); };
  const of = (make) => new Proxy({}, { get: (_, name) => (typeof name === "symbol" || name === "then" ? undefined : Object.hasOwn(matchers, name) ? make(name) : unknown(name)) });
  const expect = (actual) => {
    const waiting = (fulfilled) => (turned) => of((name) => async (...wanted) => {
      const which = fulfilled ? "resolves." : "rejects.";
      let value, threw = false;
      try { value = await (typeof actual === "function" ? actual() : actual); } catch (error) { [value, threw] = [error, true]; }
      if (threw === fulfilled) throw new Failed(`expect(received).${which}${name}()\n  Received: a promise that was ${threw ? `rejected with ${show(value)}` : `fulfilled with ${show(value)}`}`);
      matcher(name, value, turned, which)(...wanted);
    });
    const sides = { not: () => of((name) => matcher(name, actual, true)), resolves: () => waiting(true)(false), rejects: () => waiting(false)(false) };
    return new Proxy({}, { get: (_, name) => {
      if (name === "resolves" || name === "rejects") return new Proxy({}, { get: (_, inner) => (inner === "not" ? waiting(name === "resolves")(true) : sides[name]()[inner]) });
      if (name === "not") return sides.not();
      return typeof name === "symbol" || name === "then" ? undefined : Object.hasOwn(matchers, name) ? matcher(name, actual, false) : unknown(name);
    } });
  };
  const isOf = (type) => (value) => value != null && (Object(value) instanceof type || typeof value === type.name.toLowerCase());
  Object.assign(expect, {
    any: (type) => new Like(isOf(type), `any ${type.name}`), anything: () => new Like((value) => value != null, "anything"),
    arrayContaining: (some) => new Like((all) => Array.isArray(all) && some.every((one) => all.some((other) => equals(other, one, false))), `an array with ${show(some)}`),
    objectContaining: (some) => new Like((all) => hasAll(all, some, (a, b) => equals(a, b, false)), `an object with ${show(some)}`),
    stringContaining: (part) => new Like((text) => String(text).includes(part), `a string with ${show(part)}`),
    stringMatching: (pattern) => new Like((text) => new RegExp(pattern).test(text), `a string like ${pattern}`),
    closeTo: (number, digits = 2) => new Like((other) => Math.abs(number - other) < 10 ** -digits / 2, `about ${number}`),
    assertions: (count) => { if (current) current.wanted = count; }, hasAssertions: () => { if (current) current.wanted = "some"; },
    extend: (more) => { for (const [name, match] of Object.entries(more)) matchers[name] = (actual, ...wanted) => { const { pass, message } = match(actual, ...wanted); return [pass, wanted[0], false, message?.() ?? show(actual)]; }; },
    fail: (message) => { throw new Failed(message ?? "failed"); },
  });

  // --- what is to be tested -----------------------------------------------------------------------------------------------
  const suite = (name, parent, mark) => ({ name, parent, mark, parts: [], hooks: { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] } });
  const root = suite("", undefined, undefined);
  let here = root, current;
  const split = (values) => {
    const work = values.findLast((value) => typeof value === "function"), name = typeof values[0] === "string" ? values[0] : work?.name || "(without a name)";
    return [name, values.find((value) => typeof value === "object" && value !== null) ?? {}, work];
  };
  const markOf = (options, mark) => mark ?? (options.only ? "only" : options.skip ? "skip" : options.todo ? "todo" : undefined);
  const addTest = (flavor, mark) => (...values) => {
    const [name, options, work] = split(values);
    if (current) throw new Error(`test(${show(name)}) is called within a test: call it within describe or at the top`);
    here.parts.push({ name, work, flavor, mark: work === undefined ? "todo" : markOf(options, mark), parent: here });
  };
  const addSuite = (mark) => (...values) => {
    const [name, options, work] = split(values), made = suite(name, here, markOf(options, mark));
    here.parts.push(made);
    here = made;
    const done = () => { here = made.parent; };
    const result = work === undefined ? undefined : work();
    if (typeof result?.then !== "function") return done();
    return result.then(done, (error) => { done(); throw error; });
  };
  // As jest fills in the values of a row: %s and its kin, $name.
  const filled = (name, row, i) => {
    let n = 0;
    if (!Array.isArray(row)) name = name.replace(/\$(\w+(?:\.\w+)*)/g, (whole, path) => { const [there, value] = at(row, path); return there ? show(value) : whole; });
    const values = Array.isArray(row) ? row : [row];
    return name.replace(/%[sdifjop#%]/g, (mark) => (mark === "%%" ? "%" : mark === "%#" ? String(i) : n < values.length ? (mark === "%s" ? String(values[n++]) : show(values[n++])) : mark));
  };
  const table = (rows, values) => {
    if (!Array.isArray(rows) || rows.raw === undefined) return rows;
    const names = rows[0].split("|").map((name) => name.trim()).filter(Boolean), made = [];
    for (let i = 0; i + names.length <= values.length; i += names.length) made.push(Object.fromEntries(names.map((name, n) => [name, values[i + n]])));
    return made;
  };
  const each = (add) => (rows, ...values) => (name, work) => table(rows, values).forEach((row, i) => add(filled(name, row, i), () => work(...(Array.isArray(row) ? row : [row]))));
  const variants = (add) => {
    const made = add(undefined);
    for (const mark of ["only", "skip", "todo", "failing"]) made[mark] = Object.assign(add(mark), { each: each(add(mark)) });
    return Object.assign(made, { each: each(made), concurrent: made, sequential: made, skipIf: (is) => add(is ? "skip" : undefined), runIf: (is) => add(is ? undefined : "skip") });
  };
  const describe = variants((mark) => addSuite(mark)), test = variants((mark) => addTest("jest", mark)), nodeTest = variants((mark) => addTest("node", mark)), vitest = variants((mark) => addTest("vitest", mark));
  const hooksOf = (flavor) => Object.fromEntries(Object.keys(root.hooks).map((when) => [when, (work) => { here.hooks[when].push({ work, flavor }); }]));
  const hooks = hooksOf("jest"), nodeHooks = hooksOf("node");
  const mocha = { before: hooks.beforeAll, after: hooks.afterAll };

  // --- running ------------------------------------------------------------------------------------------------------------
  const counts = { passed: 0, failed: 0, skipped: 0, todo: 0 }, failures = [];
  const has = (part, mark) => part.mark === mark || (part.parts ?? []).some((inner) => has(inner, mark));
  const path = (part) => (part.parent ? [...path(part.parent), part.name] : []);
  let stuck;
  // Ends with the work, or where nothing is left that could end it.
  const ended = (work) => Promise.race([work, new Promise((_, failed) => { stuck = failed; })]);
  // What each of them gives its functions; one that takes a parameter more is given a callback. vitest has no callbacks.
  const GIVEN = { jest: () => [], node: (name) => [nodeContext(name)], vitest: (name) => [vitestContext(name)] };
  const call = ({ work, flavor }, name = current?.name) => {
    const given = GIVEN[flavor](name);
    if (flavor === "vitest" || work.length <= given.length) return work(...given);
    return new Promise((done, failed) => { work(...given, Object.assign((error) => (error ? failed(error) : done()), { fail: failed })); });
  };
  const after = (flavor) => (work) => { current.cleanup.push({ work, flavor }); };
  const vitestContext = (name) => ({ expect, task: { name }, onTestFinished: after("vitest") });
  const nodeContext = (name) => {
    const within = async (...values) => {
      const [inner, , work] = split(values);
      try { await call({ work, flavor: "node" }, inner); } catch (error) { if (error instanceof Error) error.message = `${inner}: ${error.message}`; throw error; }
      out(`      ✓ ${inner}`);
    };
    let mock;
    // What the test has replaced by its own `mock` is taken back when it ends.
    const ofTest = () => { mock = tracker(); current?.cleanup.push({ work: () => mock.restoreAll(), flavor: "node" }); return mock; };
    return { name, test: within, it: within, diagnostic: out, get mock() { return mock ?? ofTest(); }, assert: kit.assert(), skip: () => undefined, todo: () => undefined, after: after("node"), plan: () => undefined };
  };
  const told = (error) => (error instanceof Failed ? error.message + "\n" + errorText(error).split("\n").filter((line) => /^\s+at /.test(line)).slice(0, 3).join("\n") : error instanceof Error ? errorText(error) : `thrown: ${show(error)}`).trimEnd();
  const above = (part, when) => (part ? [...above(part.parent, when), ...part.hooks[when]] : []);
  const runTest = async (part, indent, isLeftOut) => {
    const say = (mark, more = "") => out(`${indent}${mark} ${part.name}${more}`);
    if (part.mark === "todo") { counts.todo += 1; return say("-", " (to do)"); }
    if (isLeftOut || part.mark === "skip") { counts.skipped += 1; return say("-", " (skipped)"); }
    current = { name: part.name, cleanup: [], wanted: undefined };
    asserted = 0;
    let error, failed = false;
    try {
      for (const hook of above(part.parent, "beforeEach")) {
        const undo = await ended(call(hook));
        if (hook.flavor === "vitest" && typeof undo === "function") current.cleanup.push({ work: undo, flavor: "vitest" });
      }
      await ended(call(part));
      if (current.wanted !== undefined && (current.wanted === "some" ? asserted === 0 : asserted !== current.wanted)) throw new Failed(`${asserted} assertions were made, ${current.wanted} were wanted`);
    } catch (thrown) { [error, failed] = [thrown, true]; }
    for (const hook of [...current.cleanup, ...above(part.parent, "afterEach")]) {
      try { await ended(call(hook)); } catch (thrown) { if (!failed) [error, failed] = [thrown, true]; }
    }
    current = undefined;
    if (part.mark === "failing") [error, failed] = [new Failed("it was to fail, and passes"), !failed];
    if (!failed) { counts.passed += 1; return say("✓"); }
    counts.failed += 1;
    failures.push([path(part).join(" › "), told(error)]);
    say("✕");
  };
  const runSuite = async (part, indent, isLeftOut) => {
    const inner = part === root ? indent : indent + "  ";
    if (part !== root) out(indent + part.name);
    try { if (!isLeftOut) for (const hook of part.hooks.beforeAll) await ended(call(hook, part.name)); } catch (error) {
      counts.failed += 1;
      failures.push([[...path(part), "beforeAll"].join(" › "), told(error)]);
      isLeftOut = true;
    }
    // What a file leaves out are tests of its own.
    const some = part.parts.some((one) => !one.isFile && has(one, "only"));
    for (const one of part.parts) {
      const without = isLeftOut || part.mark === "skip" || (some && !has(one, "only"));
      await (one.parts ? runSuite(one, inner, without || one.mark === "skip") : runTest(one, inner, without));
    }
    for (const hook of isLeftOut ? [] : part.hooks.afterAll) {
      try { await ended(call(hook, part.name)); } catch (error) { counts.failed += 1; failures.push([[...path(part), "afterAll"].join(" › "), told(error)]); }
    }
  };
  const run = async () => {
    await runSuite(root, "", false);
    for (const [name, text] of failures) out(`\n● ${name}\n${text.split("\n").map((line) => "  " + line).join("\n")}`);
    const all = Object.entries(counts).filter(([, count]) => count > 0).map(([name, count]) => `${count} ${name}`);
    out(`\nTests: ${all.join(", ") || "none"}`);
    return counts.failed === 0 && failures.length === 0;
  };
  return {
    run, isThere: () => root.parts.length > 0,
    // Nothing goes on any more: the test that is under way can not end.
    giveUp: () => { stuck?.(new Failed("it never ends: it waits for a promise or a callback that nothing will settle")); },
    // The tests of a file stand below its name; a file without tests is one: that it runs.
    inFile: async (name, load) => {
      await addSuite()(name, async () => {
        here.isFile = true;
        try { await load(); } catch (error) { return addTest("jest")("runs", () => { throw error; }); }
        if (here.parts.length === 0) addTest("jest")("runs", () => {});
      });
    },
    globals: { describe, test, it: test, expect, ...hooks, ...mocha, xdescribe: describe.skip, xtest: test.skip, xit: test.skip, fdescribe: describe.only, fit: test.only, jest, vi: jest },
    jest: { describe, test, it: test, expect, ...hooks, xdescribe: describe.skip, xtest: test.skip, xit: test.skip, fdescribe: describe.only, fit: test.only, jest },
    vitest: { describe, test: vitest, it: vitest, expect, ...hooksOf("vitest"), suite: describe, vi: jest },
    node: Object.assign(nodeTest, { test: nodeTest, it: nodeTest, describe, suite: describe, ...nodeHooks, before: nodeHooks.beforeAll, after: nodeHooks.afterAll, mock: tracker() }),
  };
})
