import { SystemApp } from './lib';
import { HomeLab } from './systems/home-lab';

SystemApp.render((app) => {
  new HomeLab(app, 'home-lab');
});
