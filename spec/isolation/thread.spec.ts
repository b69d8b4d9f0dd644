import { describe } from 'node:test'
import { behaves } from './behaves.ts'

describe("isolation: 'thread'", () => behaves('thread'))
