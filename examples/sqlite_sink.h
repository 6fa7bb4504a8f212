/* Rows of libfacpool in an SQLite database: see sqlite_sink.c. */
#ifndef SQLITE_SINK_H
#define SQLITE_SINK_H

#include <facpool/sink.h>

/* For facpool_backup_options.sink and facpool_reader_from_source. `path` is the database's; nothing
 * else is needed: `user` is not looked at. */
extern const facpool_sink_type sqlite_sink;

#endif
