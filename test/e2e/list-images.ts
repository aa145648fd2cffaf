import { App, Size } from 'cdk8s';
import { HomeLab } from '../../systems/home-lab';
import { IMAGES } from './images';
import { TestSystem } from './system';

// Prints the images that the suite starts, one a line: what a cluster without a registry must have under these names.
const app = new App();
const system = new TestSystem(app, 'images');
for (const [major, image] of Object.entries(IMAGES)) {
  system.addServer({ name: `server-${major}`, image, claim: { size: Size.gibibytes(1) } });
}
const rendered = JSON.stringify([system.toJson(), new HomeLab(app, 'home-lab').toJson()]);
const images = new Set([...rendered.matchAll(/"image":"([^"]+)"/g)].map(([, image]) => image));
process.stdout.write([...images].map((image) => `${image}\n`).join(''));
