import { proveAll } from './prove.ts'

proveAll('process')
