/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The status of a mirror and the messages to it, as device-mapper calls for them.
 */
#ifndef DM_ZMIRROR_MESSAGE_H
#define DM_ZMIRROR_MESSAGE_H

#include "dm-zmirror.h"

/**
 * zmirror_status - the status, the table line, or what IMA measures
 * @ti: the target
 * @type: which of these
 * @status_flags: not used
 * @result: the words go there
 * @maxlen: how many bytes there is room for
 *
 * Context: may sleep, takes the mirror's state_lock.
 */
void zmirror_status(struct dm_target *ti, status_type_t type,
		    unsigned int status_flags, char *result, unsigned int maxlen);

/**
 * zmirror_message - what a user tells a mirror, or asks it
 * @ti: the target
 * @argc: how many words there are, not 0
 * @argv: the words
 * @result: an answer goes there
 * @maxlen: how many bytes there is room for
 *
 * Context: may sleep, takes the mirror's message_lock. Allocates without I/O.
 * Return: 0; 1 when there is an answer; or, having logged why, a negative error number.
 */
int zmirror_message(struct dm_target *ti, unsigned int argc, char **argv,
		    char *result, unsigned int maxlen);

#endif
