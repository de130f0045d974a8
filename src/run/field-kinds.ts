/** Kinds of fields that a configuration has more than once. */

import { z } from "zod";

export const count = (least = 1) => z.number().int().min(least);
export const positive = () => z.number().positive();
/** of a moment of the optimizer */
export const decay = () => z.number().min(0).lt(1);
/** of a problem file */
export const fieldName = (standard: string) => z.string().min(1).default(standard);
export const seed = () => count(0).max(2 ** 32 - 1);
