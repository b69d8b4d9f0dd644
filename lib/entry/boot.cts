const { isMainThread, parentPort } = require('node:worker_threads')

// Preloaded with `--require`, so that the app itself is the entry: `require.main === module` holds for it. Node also
// preloads this file in the thread that runs a loader's hooks, which has the same environment but no parent to talk to.
if (isMainThread || parentPort) {
  // Node 20 and 22 warn of a `require()` of an ES module, which here concerns nobody.
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    require('./boot.js')
  } finally {
    process.emitWarning = emitWarning
  }
}
