import type { IncomingMessage } from 'node:http'
import express from 'express'

/** Whether the peer at this address, `hop` hops away, may say what the client asked for. */
export type Trusts = (address: string, hop: number) => boolean

/** Compiles a value of Express's `trust proxy` setting; Express itself does it, so that the two always agree. */
export function compileTrust(value: unknown): Trusts {
  return express().set('trust proxy', value).get('trust proxy fn') as Trusts
}

/** What trusted proxies say of the client: what Express would give an app as `req.ip` and `req.protocol`. */
export function forwardedClient(req: IncomingMessage, trusts: Trusts): { ip?: string; protocol: string } {
  const asked = Object.create(express.request, {
    app: { value: { get: () => trusts } },
    headers: { value: req.headers },
    socket: { value: req.socket },
  })
  return { ip: asked.ip, protocol: asked.protocol }
}
