// Starts "imip-secrets cleanup" when the job ends, in a Python of its own as action.yml does. It fails no job.
"use strict";

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const ISOLATED = ["-I", "-S", "-X", "utf8"];
const QUESTION = "import sys; print(sys.executable); sys.exit(sys.version_info < (3, 10))";
const NAMES = ["python3", "python", "py", ...[14, 13, 12, 11, 10].map((minor) => `python3.${minor}`)];
// What loads code into a program that starts, as in action.yml.
const LOADERS = ["BASH_ENV", "GCONV_PATH", "LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD"];
const ASKED_WITHIN = 10_000; // milliseconds
const ENDS_WITHIN = 60_000;

const { env } = process;
const root = path.parse(__dirname).root; // away from the workspace, where anybody's code may lie

function* pythons() {
  for (const name of NAMES) yield { name, library: "" };
  // In the tool cache a Python may stand elsewhere than it was built for, and then finds its library by this.
  const tools = path.join(env.RUNNER_TOOL_CACHE ?? "", "Python");
  for (const version of listed(tools)) {
    for (const machine of listed(path.join(tools, version))) {
      const home = path.join(tools, version, machine);
      yield { name: path.join(home, "python.exe"), library: "" };
      yield { name: path.join(home, "bin", "python3"), library: path.join(home, "lib") };
    }
  }
}

function listed(folder) {
  try {
    return fs.readdirSync(folder).sort();
  } catch {
    return [];
  }
}

// Asked in a bare environment, since what is called Python may be a shell script.
function executable({ name, library }) {
  const bare = { HOME: env.HOME ?? "", PATH: env.PATH ?? "", SYSTEMROOT: env.SYSTEMROOT ?? "", LD_LIBRARY_PATH: library };
  const options = { cwd: root, env: bare, encoding: "utf8", timeout: ASKED_WITHIN, windowsHide: true };
  const answer = spawnSync(name, [...ISOLATED, "-c", QUESTION], options);
  return answer.status === 0 ? answer.stdout.trim() : "";
}

function cleanUp() {
  for (const python of pythons()) {
    const found = executable(python);
    if (!found) continue;
    const kept = Object.entries(env).filter(([name]) => !LOADERS.includes(name));
    const library = python.library ? { LD_LIBRARY_PATH: python.library } : {};
    const options = { cwd: root, env: { ...Object.fromEntries(kept), ...library }, stdio: "inherit", timeout: ENDS_WITHIN };
    const done = spawnSync(found, [...ISOLATED, path.join(__dirname, "..", "launch.py"), "cleanup"], options);
    return done.status === 0 ? "" : "The cleanup did not end well: what it has not revoked ends by itself.";
  }
  return "There is no Python 3.10 or newer to clean up with: what was made for this job ends by itself.";
}

const fault = cleanUp();
if (fault) console.log(`::warning title=imip-secrets::${fault}`);
