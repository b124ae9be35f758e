// PouchDB as a peer of the measurements: one line of JSON each way on standard input and output (src/talk.rs).
// "a" is a database behind express-pouchdb, "b" replicates from it, live and one way. Stores are LevelDB, as PouchDB makes them.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const express = require('express');
const expressPouchDB = require('express-pouchdb');
const PouchDB = require('pouchdb');

const data = process.argv[2];
fs.mkdirSync(data, { recursive: true });
const Local = PouchDB.defaults({ prefix: data + path.sep });
const db = new Local('work');

let server;
let replication;
let settled = false;
let shown = 0;
let wanted = 0;
const expected = new Map();
let waiting = [];

const news = () => {
  waiting.forEach((go) => go());
  waiting = [];
};

const until = async (condition) => {
  while (!condition()) await new Promise((go) => waiting.push(go));
};

const fieldsOf = (doc) => Object.fromEntries(Object.entries(doc).filter(([name]) => !name.startsWith('_')));
const text = (fields) => JSON.stringify(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))));

const serve = () =>
  new Promise((go, failed) => {
    const app = express();
    const options = { mode: 'minimumForPouchDB', inMemoryConfig: true, logPath: path.join(data, 'log.txt') };
    app.use('/', expressPouchDB(Local, options));
    server = app.listen(0, '127.0.0.1', () => go(`127.0.0.1:${server.address().port}`));
    server.on('error', failed);
  });

// `info.docs` are written when the event comes.
const arrived = (info) => {
  for (const doc of info.docs) {
    shown += 1;
    if (expected.has(doc._id) && expected.get(doc._id) === text(fieldsOf(doc))) expected.delete(doc._id);
  }
  news();
};

const requests = {
  async put({ items }) {
    const ids = Object.keys(items);
    const old = await db.allDocs({ keys: ids });
    const docs = ids.map((id, at) => {
      const rev = old.rows[at].value && old.rows[at].value.rev;
      return rev ? { _id: id, _rev: rev, ...items[id] } : { _id: id, ...items[id] };
    });
    const written = await db.bulkDocs(docs);
    const bad = written.find((one) => one.error);
    if (bad) throw new Error(`${bad.id}: ${bad.message}`);
    return {};
  },
  async address() {
    return { address: await serve() };
  },
  async names() {
    return null;
  },
  async open() {
    await db.info();
    return null;
  },
  async connect({ to }) {
    settled = false;
    replication = db.replicate.from(`http://${to}/work`, { live: true, retry: true });
    replication.on('change', arrived);
    replication.on('paused', (error) => {
      settled = !error;
      news();
    });
    replication.on('error', () => {});
    return null;
  },
  async expect({ items, entities }) {
    const { doc_count: here } = await db.info();
    wanted = shown + Math.max(0, entities - here);
    for (const [id, fields] of Object.entries(items)) expected.set(id, text(fields));
    return null;
  },
  async shown() {
    await until(() => expected.size === 0 && shown >= wanted);
    return null;
  },
  async settled() {
    await until(() => settled);
    return null;
  },
  async traffic() {
    return null;
  },
  async sum() {
    let [entities, sum, last] = [0, 0n, undefined];
    // In pages: asking must not show in the peak of memory.
    for (;;) {
      const from = last === undefined ? {} : { startkey: last, skip: 1 };
      const { rows } = await db.allDocs({ include_docs: true, limit: 500, ...from });
      if (rows.length === 0) return { entities, sum: sum.toString(16).padStart(16, '0') };
      for (const { id, doc } of rows) {
        const hash = crypto.createHash('sha256').update(id).update('\0').update(text(fieldsOf(doc))).digest();
        sum = BigInt.asUintN(64, sum + hash.readBigUInt64BE(0));
      }
      entities += rows.length;
      last = rows[rows.length - 1].id;
    }
  },
  async stop() {
    if (replication) replication.cancel();
    if (server) {
      server.close();
      server.closeAllConnections();
    }
    await db.close();
    return null;
  },
};

const say = (answer) => new Promise((go) => process.stdout.write(JSON.stringify(answer) + '\n', go));

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      await say({ ok: await requests[request.do](request) });
    } catch (error) {
      await say({ error: String((error && error.message) || error) });
    }
    if (request.do === 'stop') break;
  }
  process.exit(0);
})();
