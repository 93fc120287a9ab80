// Judges custom resources by the schemas of their makers. Reads a list of objects from standard input, in JSON; prints
// a list: what is wrong with each, or null.
//
// The schemas let unknown keys pass, as Kubernetes does, which drops them; so keys are looked up in the declarations of
// the types, too: each must be one that the kind, or a type that it is made of, has somewhere.
//
// usage: node resources.mjs NODE_MODULES
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const modules = path.join(path.resolve(process.argv[2]), "@kubernetes-models");
const groups = {
  "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1/index.js",
  "keda.sh/v1alpha1": "keda/keda.sh/v1alpha1/index.mjs",
};
// Of Kubernetes' own types; below these the keys are the user's own.
const free = ["matchLabels", "labels", "annotations", "metadata"];

/** Adds the keys that are declared in a file, and in those of its package that it imports. */
function declared(file, keys, seen) {
  if (seen.has(file)) return keys;
  seen.add(file);
  const text = readFileSync(file, "utf8");
  for (const [, key] of text.matchAll(/^\s*"(\w+)"\??:/gm)) keys.add(key);
  for (const [, other] of text.matchAll(/from "(\.\/\w+)\.js"/g)) {
    declared(path.join(path.dirname(file), `${other}.d.ts`), keys, seen);
  }
  return keys;
}

function unknown(value, keys) {
  if (Array.isArray(value)) return value.flatMap((item) => unknown(item, keys));
  if (value === null || typeof value !== "object") return [];
  const entries = Object.entries(value).filter(([key]) => !free.includes(key));
  return entries.flatMap(([key, below]) => [...(keys.has(key) ? [] : [key]), ...unknown(below, keys)]);
}

async function judge(object) {
  const index = path.join(modules, groups[object.apiVersion]);
  const Kind = (await import(pathToFileURL(index).href))[object.kind];
  try {
    new Kind(object).validate();
  } catch (error) {
    return error.message;
  }
  const keys = declared(path.join(path.dirname(index), `${object.kind}.d.ts`), new Set(), new Set());
  const found = unknown(object.spec, keys);
  return found.length ? `no such keys: ${found.join(", ")}` : null;
}

console.log(JSON.stringify(await Promise.all(JSON.parse(readFileSync(0, "utf8")).map(judge))));
