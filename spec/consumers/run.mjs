// Packs the package and uses it from small projects, as its users will: JavaScript and TypeScript, ES modules
// and CommonJS. Needs dist/ (`npm run build`) and the npm registry.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const here = import.meta.dirname
const root = resolve(here, '../..')
const temporary = mkdtempSync(join(tmpdir(), 'express-van-consumers-'))
const typescripts = ['5.9', '6', '7']

process.on('exit', () => rmSync(temporary, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

if (!existsSync(join(root, 'dist/index.js'))) throw new Error('no dist/index.js: `npm run build` first')
const tarball = pack()
const compilers = installCompilers()

for (const name of ['js-esm', 'js-cjs']) {
  const consumer = copyConsumer(name)
  npm(consumer, 'install', tarball)
  node(consumer, 'index.js')
  run(consumer, join(consumer, 'node_modules/.bin/express-van'), ['--version'])
}

for (const name of ['ts-esm', 'ts-cjs']) {
  const consumer = copyConsumer(name)
  npm(consumer, 'install', tarball)
  for (const uninvited of ['@types/express', 'srvx']) {
    if (existsSync(join(consumer, 'node_modules', uninvited))) {
      throw new Error(`${uninvited} came along: nothing is proved to stand without it`)
    }
  }
  compileAndRun(consumer, 'tsconfig.json', 'dist/index.js')
  for (const version of [4, 5]) {
    npm(consumer, 'install', `express@${version}`, `@types/express@${version}`)
    console.log(`with Express ${version}`)
    compileAndRun(consumer, 'tsconfig.express.json', 'dist/with-express.js')
  }
}

function pack() {
  npm(root, 'pack', '--pack-destination', temporary)
  return join(
    temporary,
    readdirSync(temporary).find(name => name.endsWith('.tgz')),
  )
}

function installCompilers() {
  const folder = join(temporary, 'compilers')
  mkdirSync(folder)
  npm(folder, 'install', ...typescripts.map(version => `typescript-${version}@npm:typescript@${version}`))
  return typescripts.map(version => [version, join(folder, `node_modules/typescript-${version}/bin/tsc`)])
}

function copyConsumer(name) {
  const folder = join(temporary, name)
  cpSync(join(here, name), folder, { recursive: true })
  return folder
}

function compileAndRun(consumer, tsconfig, output) {
  for (const [version, compiler] of compilers) {
    console.log(`${tsconfig} by TypeScript ${version}`)
    rmSync(join(consumer, 'dist'), { recursive: true, force: true })
    node(consumer, compiler, '--project', tsconfig)
    node(consumer, output)
  }
}

function npm(cwd, ...args) {
  run(cwd, 'npm', [...args, '--silent', '--no-audit', '--no-fund'])
}

function node(cwd, ...args) {
  run(cwd, process.execPath, args)
}

function run(cwd, command, args) {
  try {
    execFileSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'], timeout: 180 * 1000 })
  } catch (error) {
    throw new Error(`failed in ${cwd.replace(temporary, '')}: ${command} ${args.join(' ')}`, { cause: error })
  }
}
