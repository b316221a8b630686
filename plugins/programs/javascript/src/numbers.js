// How numbers are written for people, without Intl: as en-US has them. What is not there is refused: another form would be taken for
// the one that was asked for.
(() => {
  const LOCALES = /^en(-(US|GB|CA|AU|NZ|IE))?$/, OPTIONS = ["style", "currency", "minimumFractionDigits", "maximumFractionDigits", "useGrouping"];
  // How many digits stand behind the point, at least and at most.
  const STYLES = { decimal: [0, 3], percent: [0, 0], currency: [2, 2] };
  const refuse = (what) => { throw new RangeError(`toLocaleString: ${what} is not there, because there is no Intl. There are the locale en-US, the styles decimal, percent and currency (USD), ${OPTIONS.slice(2).join(", ")}; write other forms by hand, with toFixed`); };
  const grouped = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const digits = (options, name) => {
    if (options[name] === undefined) return undefined;
    const count = Math.floor(Number(options[name]));
    if (!(count >= 0 && count <= 100)) throw new RangeError(`${name} value is out of range.`);
    return count;
  };
  // What stands before the point and behind it. Half is rounded up in the decimals that the number shows, as Intl does: 1.005 is 1.01.
  const rounded = (text, shift, least, most) => {
    const [mantissa, exponent = "0"] = text.split("e"), [whole, part = ""] = mantissa.split(".");
    const all = BigInt(whole + part), drop = part.length - Number(exponent) - shift - most;
    const kept = String(drop > 0 ? (all + 5n * 10n ** BigInt(drop - 1)) / 10n ** BigInt(drop) : all * 10n ** BigInt(-drop)).padStart(most + 1, "0");
    const point = kept.length - most;
    return [kept.slice(0, point), kept.slice(point).replace(/0+$/, "").padEnd(least, "0")];
  };
  const written = (value, locales, options = {}) => {
    const wanted = Array.isArray(locales) ? locales : locales === undefined ? [] : [locales];
    for (const locale of wanted) if (!LOCALES.test(locale)) refuse(`the locale ${locale}`);
    for (const name of Object.keys(options)) if (options[name] !== undefined && !OPTIONS.includes(name)) refuse(`the option ${name}`);
    const { style = "decimal", currency, useGrouping = true } = options;
    if (!Object.hasOwn(STYLES, style)) refuse(`the style ${style}`);
    if (style === "currency") {
      if (currency === undefined) throw new TypeError("Currency code is required with currency style.");
      if (String(currency).toUpperCase() !== "USD") refuse(`the currency ${currency}`);
      if (wanted.some((locale) => !/^en(-US)?$/.test(locale))) refuse(`the currency ${currency} of ${wanted[0]}`);
    }
    if (![true, false, "true", "false", "auto", "always"].includes(useGrouping)) refuse(`useGrouping ${useGrouping}`);
    const [fewest, usual] = STYLES[style], asked = [digits(options, "minimumFractionDigits"), digits(options, "maximumFractionDigits")];
    if (asked[0] > asked[1]) throw new RangeError("maximumFractionDigits value is out of range.");
    const most = asked[1] ?? Math.max(usual, asked[0] ?? 0), least = asked[0] ?? Math.min(fewest, most);
    const isNegative = value < 0 || Object.is(value, -0), text = String(value).replace(/^-/, "");
    let body = text === "Infinity" ? "∞" : text;
    if (/^\d/.test(text)) {
      const [whole, part] = rounded(text, style === "percent" ? 2 : 0, least, most);
      body = (useGrouping === false || useGrouping === "false" ? whole : grouped(whole)) + (part && "." + part);
    }
    return (isNegative ? "-" : "") + (style === "currency" ? "$" : "") + body + (style === "percent" ? "%" : "");
  };
  for (const type of [Number, BigInt]) {
    const { valueOf } = type.prototype;
    Object.defineProperty(type.prototype, "toLocaleString", { value: function toLocaleString(locales, options) { return written(valueOf.call(this), locales, options); }, writable: true, configurable: true, enumerable: false });
  }
})();
