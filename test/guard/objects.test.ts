import { describe, expect, it } from 'vitest';
import { archiveClaims, backupClaims, dataClaims, type Manifest } from '../../lib/guard/objects';
import { backup, render, server, walArchive } from '../helpers/render';

const claims = (kind: string, of: (manifest: Manifest) => string[]): string[] => {
  const objects = render((chart) => backup(chart, { of: server(chart, { walArchive: walArchive(chart) }) }));
  return objects.filter((object) => object.kind === kind).flatMap((object) => of(object as unknown as Manifest));
};

describe('what a claim is for', () => {
  it('data: what the server mounts, but not its archive', () => {
    expect(claims('StatefulSet', dataClaims)).toEqual(['data-pg-0']);
  });

  it('backups: what they are written to, and no archive', () => {
    expect(claims('CronJob', backupClaims)).toEqual(['pg-backup', 'pg-backup']);
    expect(claims('PersistentVolumeClaim', backupClaims)).toEqual(['pg-backup']);
  });

  it('archive: what lies at WAL_ARCHIVE, of servers and jobs alike', () => {
    expect(claims('StatefulSet', archiveClaims)).toEqual(['pg-wal']);
    expect(claims('PersistentVolumeClaim', archiveClaims)).toEqual(['pg-wal']);
    const pod = {
      volumes: ['backup', 'wal-archive'].map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
      containers: [
        {
          name: 'basebackup',
          env: [{ name: 'WAL_ARCHIVE', value: '/wal' }],
          volumeMounts: [
            { name: 'backup', mountPath: '/backup' },
            { name: 'wal-archive', mountPath: '/wal' },
          ],
        },
      ],
    };
    const cron: Manifest = { kind: 'CronJob', spec: { jobTemplate: { spec: { template: { spec: pod } } } } };
    expect(archiveClaims(cron)).toEqual(['wal-archive']);
    expect(backupClaims(cron)).toEqual(['backup']);
  });
});
