import { Construct } from 'constructs';
import { guardApp } from '../guard/guard-app';
import { InputError } from '../guard/input-error';
import { checkName } from '../guard/names';
import { labels } from '../pod/labels';
import { renderClaim } from '../storage/claim';
import { checkClaim, type OwnClaimProps } from '../storage/storage';

export interface BackupVolumeProps extends OwnClaimProps {}

/** The claim that backups lie on, apart from the data. It is rendered into `claims.yaml`: never mutated, never pruned. */
export class BackupVolume extends Construct {
  readonly claimName: string;
  readonly rootSquash: boolean;

  /** @throws InputError if the claim could not exist */
  constructor(scope: Construct, id: string, props: BackupVolumeProps) {
    super(scope, id);
    this.claimName = props.name;
    this.rootSquash = props.rootSquash ?? false;
    InputError.at(this, () => {
      checkName('PersistentVolumeClaim', props.name);
      checkClaim(props);
      renderClaim(this, 'claim', { name: props.name, labels: labels(this, 'backup', props.name) }, props);
    });
    guardApp(this);
  }
}
