// Submits a document of ours through GitHub's own toolkit: node submit.mjs FOLDER DOCUMENT
// Prints the Snapshot that its classes make of what the document says.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, file] = process.argv.slice(2);
const { Snapshot, Manifest, Package, submitSnapshot } = await import(
  pathToFileURL(`${folder}/node_modules/@github/dependency-submission-toolkit/dist/index.js`).href
);
const ours = JSON.parse(readFileSync(file, "utf8"));
const context = { sha: ours.sha, ref: ours.ref, eventName: "push", payload: {}, repo: { owner: "o", repo: "r" }, job: "j", runId: 1 };
const snapshot = new Snapshot(ours.detector, context, ours.job, new Date(ours.scanned), ours.version);
for (const [name, manifest] of Object.entries(ours.manifests)) {
  const made = new Manifest(manifest.name, manifest.file.source_location);
  for (const dependency of Object.values(manifest.resolved)) {
    const one = new Package(dependency.package_url);
    if (dependency.relationship === "direct") made.addDirectDependency(one, dependency.scope);
    else made.addIndirectDependency(one, dependency.scope);
  }
  if (name !== made.name) throw new Error(`a manifest under another name: ${name}`);
  snapshot.addManifest(made);
}
await submitSnapshot(snapshot, context);
