import { FAULTS, LAYOUTS, type Layout, type Release, type Site } from './site.ts'

/** Something done to a site, which begins and ends with a working app. */
export interface Motion {
  readonly name: string
  readonly on: readonly Layout[]
  act(site: Site, hands: Hands): Promise<void>
}

/** What a motion needs of the soak. */
export interface Hands {
  /** Resolves when every name of the site is answered from what is on disk. */
  live(): Promise<void>
  /** Waits a random time of at most this many milliseconds. */
  pause(most: number): Promise<void>
  reload(): Promise<void>
}

const all = LAYOUTS
const linked = all.filter(layout => layout !== 'plain')
/** In milliseconds: shorter than what counts as gone, with allowance for a slow machine. */
const BRIEF = 120

export const motions: readonly Motion[] = [
  { name: 'touch', on: all, act: site => site.touch() },
  { name: 'touch to an older time', on: all, act: site => site.touch(new Date('2000-01-01T00:00:00Z')) },
  { name: 'touch restart.txt', on: all, act: site => site.restart() },
  {
    name: 'touch five times',
    on: all,
    act: async (site, { pause }) => {
      for (let time = 0; time < 5; time++) {
        await site.touch()
        await pause(20)
      }
    },
  },
  { name: 'reload()', on: all, act: (_, { reload }) => reload() },
  {
    name: 'reload() after an edit that is not seen',
    on: all,
    act: async (site, { reload }) => {
      await site.replaceLib(site.newContent())
      await reload()
    },
  },
  {
    name: 'reload() while it is deployed',
    on: all,
    act: async (site, { reload, pause }) => {
      await site.touch()
      await pause(5)
      await reload()
    },
  },
  { name: 'edit the entry in place', on: all, act: site => site.writeEntry(site.newContent()) },
  {
    name: 'edit the entry in place, slowly',
    on: all,
    act: (site, { pause }) => site.writeEntry(site.newContent(), () => pause(40)),
  },
  { name: 'replace the entry by renaming', on: all, act: site => site.replaceEntry(site.newContent()) },
  {
    name: 'edit lib/ in place, then touch',
    on: all,
    act: async (site, { pause }) => {
      await site.writeLib(site.newContent())
      await pause(100)
      await site.touch()
    },
  },
  {
    name: 'replace lib/, then the entry',
    on: all,
    act: async (site, { pause }) => {
      const content = site.newContent()
      await site.replaceLib(content)
      await pause(50)
      await site.replaceEntry(content)
    },
  },
  {
    name: 'replace the entry, then lib/, then touch',
    on: all,
    act: async (site, { pause }) => {
      const content = site.newContent()
      await site.replaceEntry(content)
      await pause(50)
      await site.replaceLib(content)
      await pause(50)
      await site.touch()
    },
  },
  {
    name: 'add a file, and delete it',
    on: all,
    act: async (site, { pause }) => {
      await site.addOther('more.js')
      await pause(100)
      await site.removeOther('more.js')
    },
  },
  {
    name: 'copy over it file by file',
    on: all,
    act: async (site, { pause }) => {
      const content = site.newContent()
      const others = Array.from({ length: site.random.between(3, 20) }, (_, n) => `other-${n}.js`)
      const steps = [
        () => site.writeEntry(content, site.random.chance(0.3) ? () => pause(20) : undefined),
        () => site.writeLib(content),
        ...others.map(name => () => site.addOther(name)),
      ]
      while (steps.length > 0) {
        await steps.splice(site.random.between(0, steps.length - 1), 1)[0]?.()
        await pause(15)
      }
      await site.touch()
      await pause(15)
      for (const name of others) await site.removeOther(name)
    },
  },
  {
    name: 'break, and mend by renaming',
    on: all,
    act: async (site, { pause }) => {
      await site.replaceEntry('', site.random.pick(FAULTS))
      await pause(site.random.pick([5, 50, 1500]))
      await site.replaceEntry(site.newContent())
    },
  },
  {
    name: 'break twice, and mend in place',
    on: all,
    act: async (site, { pause }) => {
      for (let time = 0; time < 2; time++) {
        await site.replaceEntry('', site.random.pick(FAULTS))
        await pause(site.random.pick([5, 50, 1500]))
      }
      await site.writeEntry(site.newContent())
    },
  },
  {
    name: 'lose a file of lib/, and get it back',
    on: all,
    act: async (site, { live, pause }) => {
      // The release is tried again after an interval at first, then ever less often.
      await live()
      await site.removeLib()
      await site.touch()
      await pause(400)
      await site.healLib(site.newContent())
    },
  },
  {
    name: 'delete the app and build it anew at once',
    on: all,
    act: async (site, { pause }) => {
      await site.removeApp()
      await pause(BRIEF)
      await fill(site, () => pause(2))
    },
  },
  {
    name: 'delete the app, and build it anew later',
    on: all,
    act: async (site, { live, pause }) => {
      await site.removeApp()
      await live()
      await pause(300)
      await fill(site, () => pause(20))
    },
  },
  {
    name: 'rename the release away, and build it anew at once',
    on: all,
    act: async (site, { pause }) => {
      await site.moveReleaseAway()
      await pause(BRIEF)
      await fill(site, () => pause(2))
    },
  },
  {
    name: 'rename the release away, and build it anew later',
    on: all,
    act: async (site, { live, pause }) => {
      await site.moveReleaseAway()
      await live()
      await pause(300)
      await fill(site, () => pause(20))
    },
  },
  {
    name: 'rename the app folder away for a moment',
    on: all,
    act: async (site, { pause }) => {
      const place = site.aside()
      await site.moveAppAway(place)
      await pause(BRIEF)
      await site.moveAppBack(place)
    },
  },
  { name: 'rename the app folder away and a new one in', on: all, act: site => site.swap('app') },
  { name: 'rename the release away and a new one in', on: all, act: site => site.swap('release') },

  { name: 'flip the link', on: linked, act: async site => site.flip(await site.build()) },
  { name: 'ln -sfn', on: linked, act: async site => site.relink(await site.build()) },
  {
    name: 'flip the link twice',
    on: linked,
    act: async (site, { pause }) => {
      const [first, second] = [await site.build(), await site.build()]
      await site.flip(first)
      await pause(40)
      await site.flip(second)
    },
  },
  {
    name: 'flip the link five times',
    on: linked,
    act: async (site, { pause }) => {
      for (let time = 0; time < 5; time++) {
        await site.flip(await site.build())
        await pause(10)
      }
    },
  },
  {
    name: 'flip the link and back',
    on: linked,
    act: async (site, { pause }) => {
      const before = site.release
      await site.flip(await site.build())
      await pause(site.random.pick([0, 10, 300]))
      await site.flip(before)
    },
  },
  {
    name: 'roll back',
    on: linked,
    act: async site => site.flip(earlierRelease(site) ?? (await site.build())),
  },
  {
    name: 'flip to what does not load, then onwards',
    on: linked,
    act: async (site, { pause }) => {
      await flipToBroken(site)
      await pause(site.random.pick([5, 50, 1500]))
      await site.flip(await site.build())
    },
  },
  {
    name: 'flip to what does not load, then back',
    on: linked,
    act: async (site, { pause }) => {
      const before = site.release
      await flipToBroken(site)
      await pause(site.random.pick([5, 50, 1500]))
      await site.flip(before)
    },
  },
  {
    name: 'flip to what does not load, then mend it',
    on: linked,
    act: async (site, { pause }) => {
      await flipToBroken(site)
      await pause(site.random.pick([5, 50, 1500]))
      await site.replaceEntry(site.newContent())
    },
  },
  {
    name: 'flip to an empty app folder, then fill it',
    on: linked,
    act: async (site, { pause }) => {
      await site.flip(await site.buildEmpty())
      const content = site.newContent()
      await pause(400)
      await site.replaceLib(content)
      await pause(50)
      await site.writeEntry(content)
      await site.touch()
    },
  },
  {
    name: 'lead the link to nowhere for a moment',
    on: linked,
    act: async (site, { pause }) => {
      const next = site.random.chance(0.5) ? site.release : await site.build()
      await site.dangle()
      await pause(BRIEF)
      await site.flip(next)
    },
  },
  {
    name: 'lead the link to nowhere',
    on: linked,
    act: async (site, { live, pause }) => {
      const next = site.random.chance(0.5) ? site.release : await site.build()
      await site.dangle()
      await live()
      await pause(300)
      await site.flip(next)
    },
  },
  {
    name: 'delete the link',
    on: linked,
    act: async (site, { live, pause }) => {
      const next = await site.build()
      await site.unlink()
      await live()
      await pause(300)
      await site.flip(next)
    },
  },
  { name: 'flip the first link', on: ['chain'], act: async site => site.flipFirst(await site.build()) },
  {
    name: 'remove an alias, and add it again',
    on: ['aliased'],
    act: async (site, { live, pause }) => {
      const isBrief = site.random.chance(0.5)
      await site.removeAlias()
      if (isBrief) await pause(BRIEF)
      else await live()
      await site.addAlias()
    },
  },
  {
    name: 'lead an alias to what serves',
    on: ['aliased'],
    act: async (site, { live }) => {
      // Names share an app: a name that joins gets what the others still get.
      await live()
      await site.pin(site.release)
    },
  },
  {
    name: 'lead an alias to an earlier release',
    on: ['aliased'],
    act: async (site, { live }) => {
      await live()
      await site.pin(earlierRelease(site) ?? site.release)
    },
  },
  {
    name: 'remove an alias of an earlier release, and add it again',
    on: ['aliased'],
    act: async (site, { live }) => {
      const { pinned } = site
      await site.unpin()
      await live()
      await site.pin(pinned ?? site.release)
    },
  },
]

/** Builds the app in a folder that does not exist yet. */
async function fill(site: Site, pause: () => Promise<void>): Promise<void> {
  const content = site.newContent()
  const isEntryFirst = site.random.chance(0.3)
  await site.makeApp()
  await pause()
  if (isEntryFirst) await site.replaceEntry(content)
  await pause()
  await site.replaceLib(content)
  await pause()
  if (isEntryFirst) await site.touch()
  else await site.writeEntry(content)
}

async function flipToBroken(site: Site): Promise<void> {
  const release = await site.build()
  await site.spoil(release, site.random.pick(FAULTS))
  await site.flip(release)
}

function earlierRelease(site: Site): Release | undefined {
  const whole = site.earlier.filter(
    ({ hasApp, entry, lib }) => hasApp && entry !== undefined && lib !== undefined,
  )
  return whole.length > 0 ? site.random.pick(whole) : undefined
}
