import { crossing } from './native-crossing';
import { eventLoop } from './native-event-loop';
import type { NativeMeasurement } from './native-measurement';
import { nativePulls } from './native-pulls';
import { python } from './native-python';

/** In the order of the report. */
export const NATIVE_MEASUREMENTS: readonly NativeMeasurement[] = [nativePulls, python, eventLoop, crossing];
