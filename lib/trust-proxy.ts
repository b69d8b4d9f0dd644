import express from 'express'

/** Whether the peer at this address, so many hops away, may say what the client asked for. */
export type Trusts = (address: string, hop: number) => boolean

/** Compiles a value of Express's `trust proxy` setting; Express itself does it, so that the two always agree. */
export function compileTrust(value: unknown): Trusts {
  return express().set('trust proxy', value).get('trust proxy fn') as Trusts
}
