// Judges custom resources by the schemas of their makers. Reads a list of objects from standard input, in JSON; prints
// a list: what is wrong with each, or null.
//
// usage: node resources.mjs NODE_MODULES
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const modules = path.join(path.resolve(process.argv[2]), "@kubernetes-models");
const load = (file) => import(pathToFileURL(path.join(modules, file)).href);
const kinds = {
  "monitoring.coreos.com/v1": await load("prometheus-operator/monitoring.coreos.com/v1/index.js"),
  "keda.sh/v1alpha1": await load("keda/keda.sh/v1alpha1/index.mjs"),
};

function judge(object) {
  const Kind = kinds[object.apiVersion]?.[object.kind];
  if (!Kind) return `no schema of ${object.apiVersion} ${object.kind}`;
  try {
    new Kind(object).validate();
    return null;
  } catch (error) {
    return error.message;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(judge)));
