const { isMainThread, parentPort } = require('node:worker_threads')

// Preloaded with `--require`, so that the app itself is the entry: `require.main === module` holds for it. So is the
// thread in which Node runs the hooks of a loader, which is given the same environment and has no parent to talk to.
if (isMainThread || parentPort) {
  // Node 20 and 22 warn of a `require()` of an ES module, which here is nobody's business.
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    require('./boot.js')
  } finally {
    process.emitWarning = emitWarning
  }
}
