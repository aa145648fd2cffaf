import type { k8s } from 'cdk8s-plus-28';
import { HIDDEN, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';

export interface SecretCredentialsProps {
  /** The Secret's key that holds the password. */
  readonly passwordKey: string;
  /**
   * The role's name.
   *
   * @default "postgres", unless `usernameKey` names a key that holds it
   */
  readonly username?: string;
  /**
   * The Secret's key that holds the role's name.
   *
   * @default the name is `username`
   */
  readonly usernameKey?: string;
}

/** A role and its password, by reference to a Secret that exists in the namespace. A password is never rendered. */
export class Credentials {
  static fromSecret(secretName: string, props: SecretCredentialsProps): Credentials {
    return new Credentials(secretName, props);
  }

  private constructor(
    readonly secretName: string,
    private readonly props: SecretCredentialsProps,
  ) {}

  /** The role's name where it is known at synth. */
  get username(): string | undefined {
    return this.props.usernameKey ? undefined : (this.props.username ?? 'postgres');
  }

  /**
   * @param optional the container starts without the Secret, too, and finds the variables unset
   * @internal
   */
  _env(userVariable: string, passwordVariable: string, optional?: true): k8s.EnvVar[] {
    return [
      this.username === undefined
        ? this.reference(userVariable, this.props.usernameKey!, optional)
        : { name: userVariable, value: this.username },
      this.reference(passwordVariable, this.props.passwordKey, optional),
    ];
  }

  private reference(name: string, key: string, optional?: true): k8s.EnvVar {
    return { name, valueFrom: { secretKeyRef: { name: this.secretName, key, optional } } };
  }

  /**
   * Refuses what is no reference, above all a password in plain text.
   *
   * @internal
   */
  static _check(prop: string, credentials: Credentials): void {
    const fix = `write \`Credentials.fromSecret("name-of-secret", { passwordKey: "key" })\``;
    if (!(credentials instanceof Credentials)) {
      // What was given may be the password itself: it must not be printed.
      refuse(prop, 'refer to a Secret', typeof credentials === 'string' ? HIDDEN : credentials, fix);
    }
    checkName('Secret', credentials.secretName, `${prop}.secretName`);
    const { passwordKey, username, usernameKey } = credentials.props ?? {};
    for (const [key, value] of Object.entries({ passwordKey, usernameKey })) {
      if (value === undefined && key === 'usernameKey') continue;
      if (typeof value !== 'string' || !/^[-._a-zA-Z0-9]{1,253}$/.test(value)) {
        // It may be the password itself.
        refuse(`${prop}.${key}`, 'be a key of a Secret (letters, digits, "-", "_", ".")', HIDDEN, fix);
      }
    }
    if (username !== undefined && usernameKey !== undefined) {
      refuse(`${prop}.username`, 'stand alone', username, 'give `username` or `usernameKey`, not both');
    }
    if (username === '' || (username !== undefined && Buffer.byteLength(username) > 63)) {
      refuse(`${prop}.username`, 'be a role name of 1 to 63 bytes', username, 'write for example "postgres"');
    }
  }
}
