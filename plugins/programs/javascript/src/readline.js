// Lines of the standard input, as Node's `readline` has them. All of them are there from the beginning.
globalThis.__readline = ({ EventEmitter, read, write, now, others }) => {
  const createInterface = () => {
    const lines = new EventEmitter(), text = read().replace(/\r?\n$/, ""), all = text === "" ? [] : text.split(/\r?\n/);
    let isClosed = false, timer;
    const close = () => { if (!isClosed) { isClosed = true; lines.emit("close"); } };
    const wake = (delay = 0) => { clearTimeout(timer); timer = setTimeout(next, delay); };
    const next = () => {
      if (isClosed) return;
      if (all.length > 0 && lines.listenerCount("line") > 0) lines.emit("line", all.shift());
      else if (all.length === 0 || others().length === 0) return close();
      // Nobody reads the lines yet: what else goes on may do so.
      else return wake(Math.max(...others()) - now());
      wake();
    };
    const taken = () => { if (lines.listenerCount("close") > 0) wake(); };
    const { on } = lines;
    return Object.assign(lines, {
      // A listener may come late: the lines wait for it.
      on: (name, listener) => { on.call(lines, name, listener); if (name === "line" || name === "close") wake(); return lines; },
      close, setPrompt: () => undefined, prompt: () => undefined,
      question: (text, ...more) => { write(text); const answer = all.shift() ?? ""; setTimeout(() => more.at(-1)(answer)); taken(); },
      async *[Symbol.asyncIterator]() { while (all.length > 0) { yield all.shift(); taken(); } },
    });
  };
  const promised = () => {
    const lines = createInterface(), ask = lines.question;
    return Object.assign(lines, { question: (text) => new Promise((done) => ask(text, done)) });
  };
  return { readline: { createInterface }, "readline/promises": { createInterface: promised } };
};
