// Leaves the mark by which the steps of the job know that somebody cleans up at its end (see runner/handover.py).
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

// What GITHUB_STATE keeps is for the other parts of this step alone; it may have left its mark before the first step.
if (!process.env.STATE_announced) {
  const folder = path.join(process.env.RUNNER_TEMP, `imip-secrets-${crypto.randomBytes(16).toString("hex")}`);
  fs.mkdirSync(folder, { mode: 0o700 });
  fs.writeFileSync(path.join(folder, ".cleanup"), "", { mode: 0o600, flag: "wx" });
  fs.appendFileSync(process.env.GITHUB_STATE, "announced=true\n");
}
