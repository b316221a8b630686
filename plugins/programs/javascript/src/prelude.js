"use strict";
// What a program has besides the language: console, timers, process, fs and a few of their kin, by the names that Node gives
// them, as far as they go. Everything is synchronous underneath; `fs.promises` only looks otherwise.
(() => {
  const native = {};
  for (const name of ["assert", "write", "read", "save", "stat", "list", "mkdir", "rmdir", "unlink", "rename", "stdin", "now", "environment", "exit", "parse", "isModule", "testing", "mocks", "readline", "arguments"]) {
    native[name] = globalThis["__" + name];
    delete globalThis["__" + name];
  }
  const hidden = (name, value) => Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  // --- showing values -----------------------------------------------------------------------------------------------------
  const MAX_DEPTH = 4, MAX_ITEMS = 100, MAX_FRAMES = 10;
  const quoted = (text) => (text.includes("'") ? JSON.stringify(text) : "'" + JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"') + "'");
  const key = (name) => (typeof name === "symbol" ? `[${String(name)}]` : /^[A-Za-z_$][\w$]*$/.test(name) ? name : quoted(name));
  const errorText = (error) => {
    const head = `${error.name ?? "Error"}${error.message ? ": " + error.message : ""}`;
    const stack = typeof error.stack === "string" ? error.stack.trimEnd() : "";
    const all = stack.split("\n").filter((line) => /^\s*at /.test(line) && !/\((native|unknown)( at|\))/.test(line));
    const frames = all.length > MAX_FRAMES ? [...all.slice(0, MAX_FRAMES), `    ... ${all.length - MAX_FRAMES} more`] : all;
    const cause = error.cause === undefined ? "" : `\n  [cause]: ${inspect(error.cause)}`;
    return [head, ...frames].join("\n") + cause;
  };
  function inspect(value, depth = 0, seen = []) {
    switch (typeof value) {
      case "string": return depth === 0 ? value : quoted(value);
      case "bigint": return `${value}n`;
      case "symbol": return String(value);
      case "number": return Object.is(value, -0) ? "-0" : String(value);
      case "function": return `[${/^class\b/.test(Function.prototype.toString.call(value)) ? "class" : "Function"}${value.name ? " " + value.name : ""}]`;
      case "object": break;
      default: return String(value);
    }
    if (value === null) return "null";
    if (seen.includes(value)) return "[Circular]";
    if (value instanceof Error) return errorText(value);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    const name = Object.getPrototypeOf(value) === null ? "[Object: null prototype]" : value.constructor?.name ?? "Object";
    if (value instanceof Promise) return "Promise";
    if (depth > MAX_DEPTH) return Array.isArray(value) ? "[Array]" : `[${name}]`;
    const inner = [...seen, value];
    const show = (item) => inspect(item, depth + 1, inner);
    const few = (items, total) => (total > MAX_ITEMS ? [...items, `... ${total - MAX_ITEMS} more items`] : items);
    let parts, open = "{", close = "}", prefix = name === "Object" ? "" : name + " ";
    if (Array.isArray(value)) {
      [open, close, prefix] = ["[", "]", name === "Array" ? "" : `${name}(${value.length}) `];
      parts = few(Array.from({ length: Math.min(value.length, MAX_ITEMS) }, (_, i) => (i in value ? show(value[i]) : "<empty>")), value.length);
    } else if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
      [open, close, prefix] = ["[", "]", `${name}(${value.length}) `];
      parts = few(Array.from(value.subarray(0, MAX_ITEMS), show), value.length);
    } else if (value instanceof Map) {
      prefix = `${name}(${value.size}) `;
      parts = few([...value].slice(0, MAX_ITEMS).map(([k, v]) => `${show(k)} => ${show(v)}`), value.size);
    } else if (value instanceof Set) {
      prefix = `${name}(${value.size}) `;
      parts = few([...value].slice(0, MAX_ITEMS).map(show), value.size);
    } else if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      return `[${name}: ${show(value.valueOf())}]`;
    } else {
      parts = few(Reflect.ownKeys(value).filter((k) => Object.prototype.propertyIsEnumerable.call(value, k)).slice(0, MAX_ITEMS).map((k) => {
        const property = Object.getOwnPropertyDescriptor(value, k);
        return `${key(k)}: ${property.get ? "[Getter]" : show(property.value)}`;
      }), Reflect.ownKeys(value).length);
    }
    if (parts.length === 0) return prefix + open + close;
    const line = `${prefix}${open} ${parts.join(", ")} ${close}`;
    if (line.length <= 72 && !line.includes("\n")) return line;
    const indent = "  ".repeat(depth + 1);
    return `${prefix}${open}\n${indent}${parts.join(",\n" + indent)}\n${"  ".repeat(depth)}${close}`;
  }
  function format(...values) {
    if (typeof values[0] === "string" && values.length > 1 && values[0].includes("%")) {
      const [pattern, ...rest] = values;
      const text = pattern.replace(/%[sdifjoOc%]/g, (mark) => {
        if (mark === "%%") return "%";
        if (rest.length === 0) return mark;
        const value = rest.shift();
        switch (mark) {
          case "%s": return typeof value === "object" ? inspect(value, 1) : String(value);
          case "%d": return String(Number(value));
          case "%i": return String(parseInt(value, 10));
          case "%f": return String(parseFloat(value));
          case "%j": return JSON.stringify(value);
          case "%c": return "";
          default: return inspect(value, 1);
        }
      });
      return [text, ...rest.map((value) => inspect(value))].join(" ");
    }
    return values.map((value) => inspect(value)).join(" ");
  }

  // --- console ------------------------------------------------------------------------------------------------------------
  let group = "";
  const line = (to, values) => native.write(to, format(...values).split("\n").map((text) => group + text).join("\n") + "\n");
  const out = (...values) => line(1, values), err = (...values) => line(2, values);
  const counts = new Map(), timers = new Map();
  const since = (label) => `${label}: ${(native.now() - (timers.get(label) ?? native.now())).toFixed(3)}ms`;
  hidden("console", {
    log: out, info: out, debug: out, error: err, warn: err,
    trace: (...values) => err("Trace:", ...values),
    dir: (value) => out(inspect(value, 1)),
    assert: (fine, ...values) => { if (!fine) err("Assertion failed" + (values.length ? ":" : ""), ...values); },
    count: (label = "default") => { counts.set(label, (counts.get(label) ?? 0) + 1); out(`${label}: ${counts.get(label)}`); },
    countReset: (label = "default") => { counts.delete(label); },
    group: (...values) => { if (values.length) out(...values); group += "  "; },
    groupCollapsed: (...values) => { if (values.length) out(...values); group += "  "; },
    groupEnd: () => { group = group.slice(2); },
    time: (label = "default") => { timers.set(label, native.now()); },
    timeLog: (label = "default", ...values) => out(since(label), ...values),
    timeEnd: (label = "default") => { out(since(label)); timers.delete(label); },
    table: (rows) => {
      if (typeof rows !== "object" || rows === null) return out(rows);
      const entries = Array.isArray(rows) ? rows.map((row, i) => [String(i), row]) : Object.entries(rows);
      const columns = [...new Set(entries.flatMap(([, row]) => (typeof row === "object" && row !== null ? Object.keys(row) : ["Values"])))];
      const cells = [["(index)", ...columns], ...entries.map(([index, row]) => [index, ...columns.map((column) => {
        if (typeof row === "object" && row !== null) return column in row ? inspect(row[column], 1) : "";
        return column === "Values" ? inspect(row, 1) : "";
      })])];
      const widths = cells[0].map((_, i) => Math.max(...cells.map((row) => row[i].length)));
      for (const row of cells) out(row.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd());
    },
  });

  // --- timers -------------------------------------------------------------------------------------------------------------
  let waiting = [], lastTimer = 0;
  const timer = (callback, delay, values, every) => {
    if (typeof callback !== "function") throw new TypeError("the callback must be a function");
    const wait = Math.max(Number(delay) || 0, every ? 1 : 0);
    waiting.push({ id: ++lastTimer, at: native.now() + wait, every: every ? wait : undefined, callback, values });
    return lastTimer;
  };
  const clear = (id) => { waiting = waiting.filter((one) => one.id !== id); };
  hidden("setTimeout", (callback, delay, ...values) => timer(callback, delay, values, false));
  hidden("setInterval", (callback, delay, ...values) => timer(callback, delay, values, true));
  hidden("setImmediate", (callback, ...values) => timer(callback, 0, values, false));
  hidden("clearTimeout", clear);
  hidden("clearInterval", clear);
  hidden("clearImmediate", clear);
  hidden("queueMicrotask", (callback) => { Promise.resolve().then(callback); });
  hidden("__nextTimer", () => (waiting.length === 0 ? -1 : Math.max(0, Math.min(...waiting.map((one) => one.at)) - native.now())));
  // One at a time: what it has promised comes before the next one.
  hidden("__runTimers", () => {
    const next = waiting.reduce((first, one) => (first === undefined || one.at < first.at ? one : first), undefined);
    if (next === undefined || next.at > native.now()) return;
    if (next.every === undefined) clear(next.id);
    else next.at = native.now() + next.every;
    next.callback(...next.values);
  });
  hidden("__told", (error) => (error instanceof Error ? errorText(error) : inspect(error, 1)));

  // --- files --------------------------------------------------------------------------------------------------------------
  const WHAT = { ENOENT: "no such file or directory", EACCES: "permission denied", EEXIST: "file already exists", ENOTDIR: "not a directory",
    EISDIR: "illegal operation on a directory", ENOTEMPTY: "directory not empty", EDQUOT: "the workspace is full", EINVAL: "invalid argument", EIO: "it failed" };
  const guarded = (syscall, path, work) => {
    try { return work(); } catch (error) {
      const code = /^(E[A-Z]+): /.exec(error?.message ?? "")?.[1];
      if (code === undefined) throw error;
      const told = new Error(`${code}: ${WHAT[code] ?? error.message}, ${syscall} '${path}'`);
      throw Object.assign(told, { code, syscall, path: String(path) });
    }
  };
  const encodingOf = (options) => (typeof options === "string" ? options : options?.encoding);
  const asText = (options, path) => {
    const encoding = encodingOf(options);
    if (encoding == null || encoding === "buffer") return false;
    if (!["utf8", "utf-8"].includes(encoding.toLowerCase())) throw new TypeError(`the encoding ${encoding} of ${path} is not there: utf8 is`);
    return true;
  };
  const content = (data) => {
    if (typeof data === "string" || data instanceof Uint8Array) return data;
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    throw new TypeError("what is written must be a string or a typed array");
  };
  const statOf = (path) => guarded("stat", path, () => {
    const [folder, size, mtimeMs] = native.stat(path);
    return { size, mtimeMs, mtime: new Date(mtimeMs), isDirectory: () => folder, isFile: () => !folder, isSymbolicLink: () => false };
  });
  const isThere = (path) => { try { native.stat(path); return true; } catch { return false; } };
  const fs = {
    readFileSync: (path, options) => {
      const text = asText(options, path);
      if (path === 0 || path === "/dev/stdin") return native.stdin(text);
      return guarded("open", path, () => native.read(path, text));
    },
    writeFileSync: (path, data, options) => guarded("open", path, () => native.save(path, content(data), options?.flag === "a")),
    appendFileSync: (path, data) => guarded("open", path, () => native.save(path, content(data), true)),
    existsSync: isThere,
    accessSync: (path) => { statOf(path); },
    statSync: (path, options) => (options?.throwIfNoEntry === false && !isThere(path) ? undefined : statOf(path)),
    lstatSync: (path) => statOf(path),
    readdirSync: (path, options) => {
      const names = guarded("scandir", path, () => native.list(path));
      const within = (name) => posix.join(String(path), name);
      if (options?.recursive) {
        const all = (names, under) => names.flatMap((name) => {
          const whole = under + name;
          return statOf(within(whole)).isDirectory() ? [whole, ...all(native.list(within(whole)), whole + "/")] : [whole];
        });
        return all(names, "");
      }
      if (!options?.withFileTypes) return names;
      return names.map((name) => ({ name, parentPath: String(path), ...statOf(within(name)) }));
    },
    mkdirSync: (path, options) => {
      if (!options?.recursive) return guarded("mkdir", path, () => native.mkdir(path));
      let at = "";
      for (const part of posix.resolve(String(path)).split("/").filter(Boolean)) {
        at += "/" + part;
        if (!isThere(at)) guarded("mkdir", at, () => native.mkdir(at));
      }
    },
    rmdirSync: (path) => guarded("rmdir", path, () => native.rmdir(path)),
    unlinkSync: (path) => guarded("unlink", path, () => native.unlink(path)),
    rmSync: (path, options) => {
      if (options?.force && !isThere(path)) return;
      if (!statOf(path).isDirectory()) return fs.unlinkSync(path);
      if (!options?.recursive) throw Object.assign(new Error(`EISDIR: it is a directory: set recursive, rm '${path}'`), { code: "EISDIR" });
      for (const name of fs.readdirSync(path)) fs.rmSync(posix.join(String(path), name), options);
      fs.rmdirSync(path);
    },
    renameSync: (from, to) => guarded("rename", from, () => native.rename(from, to)),
    copyFileSync: (from, to) => fs.writeFileSync(to, fs.readFileSync(from)),
  };
  fs.promises = {};
  for (const name of Object.keys(fs)) {
    if (name.endsWith("Sync")) {
      fs.promises[name.slice(0, -4)] = async (...values) => fs[name](...values);
      fs[name.slice(0, -4)] ??= (...values) => {
        const done = values.pop();
        if (typeof done !== "function") throw new TypeError(`fs.${name.slice(0, -4)} takes a callback; fs.${name} and fs.promises take none`);
        fs.promises[name.slice(0, -4)](...values).then((value) => done(null, value), done);
      };
    }
  }

  // --- paths --------------------------------------------------------------------------------------------------------------
  const tidy = (path, whole) => {
    const parts = [];
    for (const part of path.split("/")) {
      if (part === "" || part === ".") continue;
      if (part === ".." && (whole || (parts.length && parts.at(-1) !== ".."))) parts.pop();
      else parts.push(part);
    }
    return parts.join("/");
  };
  const posix = {
    sep: "/", delimiter: ":",
    isAbsolute: (path) => path.startsWith("/"),
    normalize: (path) => (path.startsWith("/") ? "/" + tidy(path, true) : tidy(path, false) || "."),
    join: (...parts) => posix.normalize(parts.filter(Boolean).join("/") || "."),
    resolve: (...parts) => "/" + tidy(parts.reduce((at, part) => (part.startsWith("/") ? part : at + "/" + part), "/"), true),
    dirname: (path) => { const at = path.replace(/\/+$/, "").lastIndexOf("/"); return at < 0 ? "." : at === 0 ? "/" : path.slice(0, at); },
    basename: (path, ending = "") => { const name = path.replace(/\/+$/, "").split("/").pop(); return ending && name !== ending && name.endsWith(ending) ? name.slice(0, -ending.length) : name; },
    extname: (path) => { const name = posix.basename(path), at = name.lastIndexOf("."); return at <= 0 ? "" : name.slice(at); },
    relative: (from, to) => {
      const [a, b] = [from, to].map((path) => posix.resolve(path).split("/").filter(Boolean));
      let same = 0;
      while (same < a.length && same < b.length && a[same] === b[same]) same++;
      return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/");
    },
  };
  posix.posix = posix;

  // --- process ------------------------------------------------------------------------------------------------------------
  const environment = {}, variables = native.environment();
  for (let i = 0; i < variables.length; i += 2) environment[variables[i]] = variables[i + 1];
  const began = native.now();
  const process = {
    argv: ["javascript", ...native.arguments], argv0: "javascript", execArgv: [], env: environment, exitCode: undefined,
    platform: "wasi", arch: "wasm32", version: "v0.0.0-vivarium", versions: {}, pid: 1,
    cwd: () => "/", uptime: () => (native.now() - began) / 1000,
    exit: (code = process.exitCode ?? 0) => native.exit(Number(code)),
    nextTick: (callback, ...values) => { Promise.resolve().then(() => callback(...values)); },
    hrtime: Object.assign(() => { const now = native.now() - began; return [Math.floor(now / 1000), Math.round((now % 1000) * 1e6)]; }, { bigint: () => BigInt(Math.round((native.now() - began) * 1e6)) }),
    memoryUsage: () => ({}), on: () => process, once: () => process, off: () => process, emitWarning: (text) => err(`Warning: ${text}`),
    stdout: { write: (text) => { native.write(1, content(text)); return true; }, isTTY: false },
    stderr: { write: (text) => { native.write(2, content(text)); return true; }, isTTY: false },
    stdin: {
      isTTY: false, fd: 0, setEncoding: () => process.stdin, resume: () => process.stdin, pause: () => process.stdin,
      // All of it is there from the beginning: it is told when the program's own code is through.
      on: (name, listener) => {
        if (name === "data") setTimeout(() => { const text = native.stdin(true); if (text) listener(text); });
        if (name === "end" || name === "close") setTimeout(listener, 1);
        return process.stdin;
      },
      async *[Symbol.asyncIterator]() { const text = native.stdin(true); if (text) yield text; },
    },
  };
  process.stdin.once = process.stdin.on;
  hidden("process", process);
  hidden("global", globalThis);
  hidden("__exitCode", () => Number(process.exitCode ?? 0));
  hidden("performance", { now: () => native.now() - began, timeOrigin: began });
  hidden("structuredClone", (value) => {
    const known = new Map();
    const copy = (value) => {
      if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`${String(value)} can not be cloned`);
      if (typeof value !== "object" || value === null) return value;
      if (known.has(value)) return known.get(value);
      if (value instanceof Date) return new Date(value);
      if (value instanceof RegExp) return new RegExp(value.source, value.flags);
      if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value.slice();
      const made = Array.isArray(value) ? [] : value instanceof Map ? new Map() : value instanceof Set ? new Set() : value instanceof Error ? new value.constructor(value.message) : {};
      known.set(value, made);
      if (value instanceof Map) for (const [k, v] of value) made.set(copy(k), copy(v));
      else if (value instanceof Set) for (const v of value) made.add(copy(v));
      else for (const name of Object.keys(value)) made[name] = copy(value[name]);
      return made;
    };
    return copy(value);
  });
  hidden("TextEncoder", class TextEncoder {
    encoding = "utf-8";
    encode(text = "") {
      const bytes = [];
      for (const letter of String(text)) {
        let code = letter.codePointAt(0);
        if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
        if (code < 0x80) bytes.push(code);
        else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
        else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
        else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
      }
      return new Uint8Array(bytes);
    }
  });
  hidden("TextDecoder", class TextDecoder {
    encoding = "utf-8";
    decode(data = new Uint8Array()) {
      const bytes = content(data);
      let text = "";
      for (let i = 0; i < bytes.length;) {
        const first = bytes[i++];
        const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
        let code = more < 0 ? 0xfffd : more === 0 ? first : first & (0x3f >> more);
        for (let n = 0; n < more; n++) {
          if ((bytes[i] & 0xc0) !== 0x80) { code = 0xfffd; break; }
          code = (code << 6) | (bytes[i++] & 63);
        }
        text += String.fromCodePoint(code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0xfffd : code);
      }
      return text;
    }
  });
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  hidden("btoa", (text) => {
    let encoded = "";
    for (let i = 0; i < text.length; i += 3) {
      const three = [0, 1, 2].map((n) => text.charCodeAt(i + n));
      if (three.some((code) => code > 255)) throw new RangeError("btoa takes characters up to \\xff");
      const bits = (three[0] << 16) | ((three[1] || 0) << 8) | (three[2] || 0);
      encoded += letters[bits >> 18] + letters[(bits >> 12) & 63] + (i + 1 < text.length ? letters[(bits >> 6) & 63] : "=") + (i + 2 < text.length ? letters[bits & 63] : "=");
    }
    return encoded;
  });
  hidden("atob", (text) => {
    let bits = 0, count = 0, decoded = "";
    for (const letter of String(text).replace(/[\s=]/g, "")) {
      const at = letters.indexOf(letter);
      if (at < 0) throw new RangeError(`${letter} is no letter of base64`);
      bits = ((bits << 6) | at) & 0xffffff;
      if ((count += 6) >= 8) decoded += String.fromCharCode((bits >> (count -= 8)) & 255);
    }
    return decoded;
  });
  hidden("fetch", async (url) => { throw new TypeError(`fetch failed: there is no network here, so ${url} can not be had; read files of the workspace instead`); });

  // --- modules ------------------------------------------------------------------------------------------------------------
  const { assert, isDeepEqual } = native.assert(inspect, quoted);
  class EventEmitter {
    #heard = new Map();
    on(name, listener) { this.#heard.set(name, [...(this.#heard.get(name) ?? []), listener]); return this; }
    once(name, listener) { const once = (...values) => { this.off(name, once); listener.apply(this, values); }; return this.on(name, once); }
    off(name, listener) { this.#heard.set(name, (this.#heard.get(name) ?? []).filter((one) => one !== listener)); return this; }
    emit(name, ...values) { const heard = this.#heard.get(name) ?? []; for (const one of heard) one.apply(this, values); return heard.length > 0; }
    addListener(name, listener) { return this.on(name, listener); }
    removeListener(name, listener) { return this.off(name, listener); }
    listenerCount(name) { return (this.#heard.get(name) ?? []).length; }
  }
  EventEmitter.EventEmitter = EventEmitter;
  const util = { inspect: (value) => inspect(value, 1), format, isDeepStrictEqual: (a, b) => isDeepEqual(a, b, { strict: true }), TextEncoder: globalThis.TextEncoder, TextDecoder: globalThis.TextDecoder,
    promisify: (work) => (...values) => new Promise((done, failed) => work(...values, (error, value) => (error ? failed(error) : done(value)))) };
  const timersPromises = { setTimeout: (delay, value) => new Promise((done) => setTimeout(() => done(value), delay)) };
  const builtins = { fs, "fs/promises": fs.promises, path: posix, "path/posix": posix, process, util, assert, "assert/strict": assert.strict, events: EventEmitter,
    timers: { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate }, "timers/promises": timersPromises,
    os: { EOL: "\n", platform: () => "wasi", tmpdir: () => "/", homedir: () => "/", cpus: () => [], type: () => "WASI" }, perf_hooks: { performance: globalThis.performance } };
  Object.assign(builtins, native.readline({ EventEmitter, read: () => native.stdin(true), write: (text) => process.stdout.write(text), now: native.now, others: () => waiting.map((one) => one.at) }));

  // --- tests --------------------------------------------------------------------------------------------------------------
  let tests, running;
  const testing = () => (tests ??= native.testing()({ inspect, isDeepEqual, out, errorText, assert: () => assert, mocks: native.mocks()() }));
  const frameworks = { "node:test": () => testing().node, "@jest/globals": () => testing().jest, vitest: () => testing().vitest, mocha: () => testing().globals };
  for (const name of ["describe", "test", "it", "expect", "beforeAll", "afterAll", "beforeEach", "afterEach", "before", "after", "xdescribe", "xtest", "xit", "fdescribe", "fit", "jest", "vi"]) {
    Object.defineProperty(globalThis, name, { get: () => testing().globals[name], set: (value) => hidden(name, value), configurable: true, enumerable: false });
  }
  // Called where nothing is left to do: runs the tests that are there, and says whether there is more to do.
  hidden("__atEnd", () => {
    if (running === false || !tests?.isThere()) return false;
    if (running) tests.giveUp();
    else {
      running = true;
      const ended = () => { running = false; process.exitCode ||= 1; };
      tests.run().then((fine) => { if (fine) running = false; else ended(); }, (error) => { ended(); err("the tests broke off:", error); });
    }
    return true;
  });
  const isTestFile = (path) => /[._-](test|spec)\.[cm]?js$|(^|\/)test(-[^/]*)?\.[cm]?js$|(^|\/)(tests?|__tests__)\/.*\.[cm]?js$/.test(path);
  const filesIn = (folder) => fs.readdirSync(folder).filter((name) => !name.startsWith(".") && name !== "node_modules").flatMap((name) => {
    const path = posix.join(folder, name);
    return statOf(path).isDirectory() ? filesIn(path) : [path];
  });
  hidden("__testFiles", async (load) => {
    const wanted = process.argv.splice(2).filter((argument) => !argument.startsWith("-")).map((path) => posix.resolve(path));
    const files = wanted.length === 0 ? filesIn("/").filter(isTestFile) : wanted.flatMap((path) => (isThere(path) && statOf(path).isDirectory() ? filesIn(path).filter(isTestFile) : [path]));
    if (files.length === 0) throw new Error("there are no test files: they are called like sum.test.js, sum.spec.js or test/sum.js");
    for (const path of files) await testing().inFile(path.slice(1), () => load(path));
  });
  const find = (name) => frameworks[name]?.() ?? builtins[name.replace(/^node:/, "")];
  hidden("__builtin", find);
  const loaded = new Map();
  let main;
  const requireFrom = (folder) => Object.assign((name) => {
    const builtin = find(name);
    if (builtin !== undefined) return builtin;
    if (!/^\.{0,2}\//.test(name)) throw Object.assign(new Error(`Cannot find module '${name}': packages of npm are not there; there are files of the workspace (require("./file.js")) and ${Object.keys(builtins).join(", ")}`), { code: "MODULE_NOT_FOUND" });
    const base = posix.resolve(folder, name);
    const path = ["", ".js", ".cjs", ".json", "/index.js"].map((ending) => base + ending).find((path) => isThere(path) && !statOf(path).isDirectory());
    if (path === undefined) throw Object.assign(new Error(`Cannot find module '${name}': ${base} is not in the workspace`), { code: "MODULE_NOT_FOUND" });
    if (loaded.has(path)) return loaded.get(path).exports;
    return common(path, fs.readFileSync(path, "utf8"));
  }, { main });
  const parsed = (path, code) => {
    try { return native.parse(code, path); } catch (error) {
      if (!(error instanceof SyntaxError) || !native.isModule(code)) throw error;
      throw new SyntaxError(`${path} is an ECMAScript module (it has import, export or await at its top): load it with import, and not with require`);
    }
  };
  const common = (path, code, isProgram = false) => {
    const module = { exports: {}, filename: path, id: path, path: posix.dirname(path) };
    if (isProgram) main = module;
    loaded.set(path, module);
    if (path.endsWith(".json")) module.exports = JSON.parse(code);
    else parsed(path, code).call(module.exports, module, module.exports, requireFrom(module.path), path, module.path);
    return module.exports;
  };
  hidden("require", requireFrom("/"));
  // A program that is no module itself.
  hidden("__main", (path, code) => common(path, code, true));
})();
