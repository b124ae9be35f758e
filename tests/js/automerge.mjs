// Documents of the JavaScript Automerge, for crdt/tests/oracle/javascript.rs.
//
//   node automerge.mjs write SEED              several actors write; prints the document
//   node automerge.mjs read < CHANGES          loads changes (base64, one a line); prints the document
//   node automerge.mjs continue SEED < CHANGES loads changes, writes on; prints the document
//   node automerge.mjs marks | author | plain  a text with marks; a change that names its author; no conflicts
//
// A document is printed as JSON: all changes, the heads, what JavaScript shows, and every value that
// nobody has overwritten, those in conflict too, with the ids of their operations.

import * as Automerge from "@automerge/automerge"
import { readFileSync } from "node:fs"

const [, , command, argument] = process.argv

// The same numbers for the same seed (mulberry32).
let state = Number(argument ?? 0) >>> 0
function below(end) {
  state = (state + 0x6d2b79f5) >>> 0
  let t = state
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) % end
}
const pick = (from) => from[below(from.length)]

// A feed id has 16 bytes; so has an actor.
let actors = 0
function newActor(kind) {
  actors += 1
  const byte = below(256).toString(16).padStart(2, "0")
  return byte.repeat(14) + kind + actors.toString(16).padStart(2, "0")
}

const KEYS = ["a", "b", "c", "$deleted", "ä"]

function scalar() {
  return pick([
    () => null,
    () => true,
    () => below(1000) - 500,
    () => 0.25 + below(9),
    () => new Automerge.ImmutableString("fixed"),
    () => new Automerge.Counter(below(10)),
    () => new Date(951782400123),
    () => new Uint8Array([0, 1, 255]),
    () => "a collaborative string",
    () => "",
    () => new Automerge.Uint(7),
    () => Number.MAX_SAFE_INTEGER,
  ])()
}

function value(depth) {
  switch (depth > 3 ? 9 : below(10)) {
    case 0:
    case 1:
      return Object.fromEntries([0, 1, 2].map(() => [pick(KEYS), value(depth + 1)]))
    case 2:
      return [0, 1, 2].slice(below(4)).map(() => value(depth + 1))
    default:
      return scalar()
  }
}

// Edits that do not fit what they fall on throw; then they do not happen.
function edit(doc) {
  const path = []
  let object = doc
  for (;;) {
    const inner = Object.keys(object).filter((key) => isContainer(object[key]))
    if (inner.length === 0 || below(3) === 0) break
    const key = pick(inner)
    path.push(Array.isArray(object) ? Number(key) : key)
    object = object[key]
  }
  if (Array.isArray(object)) editList(object)
  else editMap(doc, path, object)
}

const isContainer = (value) =>
  typeof value === "object" && value !== null && (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype)

function editList(list) {
  const at = below(list.length + 1)
  switch (below(6)) {
    case 0:
      return list.push(value(2), scalar())
    case 1:
      return Automerge.insertAt(list, at, value(2))
    case 2:
      return list.length > at ? (list[at] = scalar()) : list.unshift(scalar())
    case 3:
      return list.splice(at, 1, scalar())
    case 4:
      return list.length > at && Automerge.deleteAt(list, at)
    default:
      return list[at] instanceof Automerge.Counter ? list[at].increment(below(5)) : list.push(new Automerge.Counter(1))
  }
}

function editMap(doc, path, map) {
  const key = pick(KEYS)
  const there = map[key]
  if (typeof there === "string" && below(4) > 0) {
    const at = below([...there].length + 1)
    const edits = [
      () => Automerge.splice(doc, [...path, key], Math.min(at, there.length), 0, pick(["x", "häß", "😀", "word "])),
      () => there.length > 0 && Automerge.splice(doc, [...path, key], below(there.length), 1),
      () => Automerge.updateText(doc, [...path, key], there + pick(["!", "?", ""])),
      () => Automerge.splitBlock(doc, [...path, key], 0, { type: "paragraph", parents: [] }),
    ]
    return pick(edits)()
  }
  if (there instanceof Automerge.Counter && below(4) > 0) return there.increment(below(9) - 4)
  if (below(6) === 0) return delete map[key]
  map[key] = value(1)
}

const failed = new Set()

function write(replicas, steps) {
  for (let step = 0; step < steps; step += 1) {
    const at = below(replicas.length)
    switch (below(10)) {
      case 0:
        // The same node, as after a restart.
        replicas[at] = Automerge.clone(replicas[at], { actor: newActor("bb") })
        break
      case 1:
      case 2:
      case 3:
        replicas[at] = Automerge.merge(replicas[at], Automerge.clone(pick(replicas)))
        break
      default: {
        const options = { message: below(4) === 0 ? "a message" : undefined, time: 1800000000 + step }
        try {
          replicas[at] = Automerge.change(replicas[at], options, (doc) => {
            for (let edits = below(4); edits >= 0; edits -= 1) edit(doc)
          })
        } catch (error) {
          failed.add(String(error).slice(0, 60))
        }
      }
    }
  }
  return replicas.reduce((all, replica) => Automerge.merge(all, Automerge.clone(replica)))
}

// --- printing

const base64 = (bytes) => Buffer.from(bytes).toString("base64")

function ops(backend, object, prop) {
  return backend.getAll(object, prop).map((entry) => {
    const [type, value, id] = entry
    const container = ["map", "list", "text", "table"].includes(type)
    if (!container) return { id, type, value: printed(type, value) }
    return { id: value, type, value: type === "map" || type === "table" ? map(backend, value) : list(backend, value) }
  })
}

function printed(type, value) {
  if (type === "bytes") return base64(value)
  if (type === "timestamp") return value instanceof Date ? value.getTime() : value
  if (type === "counter") return Number(value.value ?? value)
  if (type === "f64") return String(value)
  if (type === "null") return null
  return value
}

function map(backend, object) {
  return Object.fromEntries(backend.keys(object).map((key) => [key, ops(backend, object, key)]))
}

// The index of a text counts UTF-16 units: some of its elements are at two.
function list(backend, object) {
  const elements = []
  let last
  for (let index = 0; index < backend.length(object); index += 1) {
    const element = ops(backend, object, index)
    const id = element.map((op) => op.id).join()
    if (id !== last) elements.push(element)
    last = id
  }
  return elements
}

// What JavaScript shows, in JSON.
function shown(value) {
  if (value instanceof Automerge.Counter) return value.value
  if (value instanceof Automerge.ImmutableString) return value.val
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return base64(value)
  if (Array.isArray(value)) return value.map(shown)
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(inner)]))
  }
  return value
}

function print(written) {
  // As whoever opens the file sees it: what was just assigned is still of the classes it was assigned as.
  const doc = Automerge.load(Automerge.save(written))
  const changes = Automerge.getAllChanges(doc).map(base64)
  const tree = map(Automerge.getBackend(doc), "_root")
  const all = { changes, heads: Automerge.getHeads(doc), shown: shown(doc), tree }
  // JSON.stringify knows no integers of 64 bits: they go through it as strings that nothing else here looks like.
  const text = JSON.stringify(all, (_, value) => (typeof value === "bigint" ? `\uE000${value}` : value))
  process.stdout.write(text.replace(/"\uE000(-?\d+)"/g, "$1"))
}

function read() {
  const lines = readFileSync(0, "utf8").split("\n").filter((line) => line !== "")
  const changes = lines.map((line) => new Uint8Array(Buffer.from(line, "base64")))
  const [doc] = Automerge.applyChanges(Automerge.init({ actor: newActor("dd") }), changes)
  return doc
}

switch (command) {
  case "write": {
    const nodes = [0, 1, 2].map(() => Automerge.init({ actor: newActor("aa") }))
    print(write(nodes, 40))
    break
  }
  case "read":
    print(read())
    break
  case "continue": {
    const doc = read()
    print(write([doc, Automerge.clone(doc, { actor: newActor("ee") })], 16))
    break
  }
  case "marks": {
    const doc = Automerge.from({ text: "some text" }, { actor: newActor("aa") })
    print(Automerge.change(doc, (doc) => Automerge.mark(doc, ["text"], { start: 0, end: 4 }, "bold", true)))
    break
  }
  case "author":
    print(Automerge.from({ text: "some text" }, { author: "0a0b" }))
    break
  case "plain": {
    const long = new Automerge.ImmutableString("x".repeat(5000))
    const list = [1, null, { deep: [true, 2.5] }, new Uint8Array([1, 2])]
    const first = { long, nested: { text: "some text", list }, counter: new Automerge.Counter(3) }
    const doc = Automerge.from(first, { actor: newActor("aa") })
    const other = Automerge.change(Automerge.clone(doc, { actor: newActor("aa") }), (doc) => {
      doc.counter.increment(4)
      doc.nested.list.push(new Date(951782400123))
      Automerge.splice(doc, ["nested", "text"], 4, 0, " more")
    })
    const here = Automerge.change(doc, (doc) => {
      doc.counter.increment(-1)
      delete doc.nested.list[0]
      Automerge.splice(doc, ["nested", "text"], 0, 4, "any")
    })
    print(Automerge.merge(here, other))
    break
  }
  default:
    process.stderr.write("write SEED | read | continue SEED | marks | author | plain\n")
    process.exit(2)
}
