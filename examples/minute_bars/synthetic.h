/* Writes made-up bars for the minute bar example to run on where there is no market data: the same
 * ones every time, byte for byte, with the troubles that real files have. */
#ifndef SYNTHETIC_H
#define SYNTHETIC_H

#define SYNTHETIC_INSTRUMENTS 300
#define SYNTHETIC_DAYS        60

/* Writes SYNTHETIC_INSTRUMENTS files of 5-minute bars into an existing folder: New York days from
 * 2024-10-07 to 2024-12-31, so that the clocks change and two half-days lie among them. There are
 * missing bars, halts for part of a day and for whole days, days without bars, late listings, two
 * dialects of CSV, lines that can't be read, and one file without the column 'close'.
 * Returns 0, or -1 having printed why not. */
int synthetic_write(const char *folder);

#endif
