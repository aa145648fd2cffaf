import { describe, expect, it } from 'vitest';
import { type ContainerProps, claimMount, hardenedPod } from '../../lib/pod/hardened-pod';

const image = { reference: 'postgres:18.1-trixie', major: 18, uid: 999, gid: 999, declaredVolumes: [] };
const container = (...squashed: boolean[]): ContainerProps => ({
  name: 'c',
  command: ['true'],
  env: [],
  resources: {},
  mounts: squashed.map((rootSquash, i) => claimMount(`v${i}`, `/v${i}`, { claimName: `v${i}`, rootSquash })),
});

describe('fsGroup follows from the storage', () => {
  it('is set with OnRootMismatch where a block volume is mounted, so that PGDATA keeps 0700 over restarts', () => {
    expect(hardenedPod({ image, containers: [container(false)] }).securityContext).toMatchObject({
      fsGroup: 999,
      fsGroupChangePolicy: 'OnRootMismatch',
    });
  });

  it('is left out where root is squashed, and where there is no claim', () => {
    for (const only of [container(true), container()]) {
      expect(hardenedPod({ image, containers: [only] }).securityContext).not.toHaveProperty('fsGroup');
    }
  });

  it('cannot be both in one pod', () => {
    expect(() => hardenedPod({ image, containers: [container(true, false)] })).toThrow(
      '`rootSquash` must be the same for all claims of one pod, since fsGroup holds for the whole pod, got /v0 with it and /v1 without; put both on one kind of storage',
    );
  });
});
