export { BackupVolume, type BackupVolumeProps } from './backup/backup-volume';
export { Compression } from './backup/compression';
export { LogicalBackup, type LogicalBackupProps } from './backup/logical-backup';
export { Retention, type RetentionTiers } from './backup/retention';
export { Schedule, type ScheduleOptions, type Weekday } from './backup/schedule';
export { WalArchive, type WalArchiveProps } from './backup/wal-archive';
export { InputError } from './guard/input-error';
export { type ExporterProps, Metrics } from './observe/metrics';
export { MetricsMonitor, type MetricsMonitorProps } from './observe/metrics-monitor';
export { MonitoringRole, type MonitoringRoleProps } from './observe/monitoring-role';
export type { Resources } from './pod/resources';
export { LogicalRestore, type LogicalRestoreProps } from './restore/logical-restore';
export { Credentials, type SecretCredentialsProps } from './server/credentials';
export { type IPostgres, PostgresEndpoint, type PostgresEndpointProps } from './server/endpoint';
export {
  type AlpineImageProps,
  type BitnamiImageProps,
  type CustomImageProps,
  type OfficialImageProps,
  PostgresImage,
} from './server/image';
export { Postgres, type PostgresProps } from './server/postgres';
export type { Settings } from './server/settings';
export {
  type CertificateSource,
  type ClientCertificate,
  Tls,
  type TlsProps,
  type VerifyCaProps,
  type VerifyFullProps,
} from './server/tls';
export {
  type AccessMode,
  type ClaimProps,
  type ClaimTemplateProps,
  type ExistingClaimProps,
  type OwnClaimProps,
  Storage,
  type VolumeOwnership,
} from './storage/storage';
export { SystemApp } from './system-app';
