export { cacheFolder, type Image, image, imageFolder } from './image/image';
export { ALL_MAJORS, majors } from './majors';
export { Rehearsal } from './runner/rehearsal';
export type * from './runner/types';
