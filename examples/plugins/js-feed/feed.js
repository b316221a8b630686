// A tool for Vivarium: reads a JSON Feed (https://jsonfeed.org) and lists its newest entries.

import { get as setting } from 'vivarium:plugin/settings@0.1.0';

const DEFAULT_BASE_URL = 'https://www.jsonfeed.org';
const DEFAULT_LIMIT = 10;

// What the engine gives back as `tool-error`: the payload of what was thrown.
class ToolError extends Error {
  constructor(tag, message) {
    super(message);
    this.payload = { tag, val: message };
  }
}

export const tool = {
  async call(name, argumentsJson, context) {
    if (name !== 'feed') {
      throw new ToolError('unknown-tool', `this component has feed only, not ${name}`);
    }
    const { path = 'feed.json', limit = DEFAULT_LIMIT, contains = '' } = JSON.parse(argumentsJson);
    const url = address(path);
    const text = await read(url);
    const feed = parsed(text, url);
    const entries = newest(feed.items, contains).slice(0, limit);
    const title = feed.title ?? url;
    const content = within(lines(title, entries, contains), context.maxOutputBytes);
    return {
      content,
      documents: [{ title, location: url, mediaType: 'application/feed+json', text }],
    };
  },
};

// The operator says where the site is; the model only which feed of it.
function address(path) {
  const base = setting('base_url') ?? DEFAULT_BASE_URL;
  const url = new URL(path, base.endsWith('/') ? base : `${base}/`);
  if (url.origin !== new URL(base).origin) {
    throw new ToolError('invalid-arguments', `${path} leads away from ${base}: name a path of that site, such as feed.json`);
  }
  return url.href;
}

async function read(url) {
  let response;
  try {
    response = await fetch(url, { headers: { accept: 'application/feed+json, application/json' } });
  } catch (error) {
    // The engine tells a refusal of the host from a broken line by nothing; the host's own event says which it was.
    throw new ToolError('unavailable', `${url} did not answer, or is no host that is granted to this plugin`);
  }
  if (response.status === 404) {
    throw new ToolError('not-found', `${url} does not exist`);
  }
  if (!response.ok) {
    throw new ToolError('unavailable', `${url} answered with status ${response.status}`);
  }
  return await response.text();
}

function parsed(text, url) {
  let feed;
  try {
    feed = JSON.parse(text);
  } catch {
    throw new ToolError('failed', `${url} is no JSON`);
  }
  if (!Array.isArray(feed?.items)) {
    throw new ToolError('failed', `${url} is no JSON Feed: it has no list \`items\``);
  }
  return feed;
}

// Newest first; an entry without a date comes last. Dates of a feed are ISO 8601, and most often all of one time zone.
function newest(items, contains) {
  const wanted = contains.toLowerCase();
  return items
    .filter((item) => item !== null && typeof item === 'object')
    .map(({ title, url, date_published: date, summary, content_text: body }) => ({
      title: String(title ?? summary ?? body ?? 'untitled').split('\n', 1)[0].slice(0, 200),
      url: typeof url === 'string' ? url : undefined,
      date: typeof date === 'string' ? date : '',
    }))
    .filter(({ title }) => title.toLowerCase().includes(wanted))
    .sort((a, b) => (a.date < b.date ? 1 : a.date > b.date ? -1 : 0));
}

function lines(title, entries, contains) {
  const about = contains === '' ? '' : `, only titles with “${contains}”`;
  const heading = `${title} (${entries.length} newest first${about})`;
  return [heading, ...entries.map(({ title, url, date }) => `- ${date.slice(0, 10) || 'no date'}: ${title}${url ? ` <${url}>` : ''}`)];
}

// As many whole lines as the host takes.
function within(lines, maxBytes) {
  const encoder = new TextEncoder();
  let room = maxBytes;
  const kept = [];
  for (const line of lines) {
    room -= encoder.encode(line).length + 1;
    if (room < 0) break;
    kept.push(line);
  }
  return kept.join('\n');
}
