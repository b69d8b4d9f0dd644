import { proveAll } from './prove.ts'

proveAll('thread')
