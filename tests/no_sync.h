/* For programs that are not about power loss: their syncs do nothing, as they would only take time.
 * The library calls the program's fdatasync where there is one. */
#ifndef FP_TEST_NO_SYNC_H
#define FP_TEST_NO_SYNC_H

int fdatasync(int fd);

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

#endif
