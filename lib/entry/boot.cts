// Preloaded with `--require`, so that the app itself is the entry: `require.main === module` holds for it.
// Node 20 and 22 warn of a `require()` of an ES module, which here is nobody's business.
const { emitWarning } = process
process.emitWarning = () => {}
try {
  require('./boot.js')
} finally {
  process.emitWarning = emitWarning
}
