/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Waiting for a mirror, with or without something to look at.
 */
#ifndef ZMIRROR_WATCH_H
#define ZMIRROR_WATCH_H

#include "mirror.h"

/**
 * zm_progress - show how a mirror gets in sync, on standard error, before a pivot
 * @mirror: a mirror that is open; it is refreshed
 * @rest: for so many seconds only what is in sync counts
 *
 * On a terminal a bar is drawn in place; elsewhere there is a line every 10 seconds or
 * 10 percent. SIGINT and SIGTERM are caught meanwhile.
 *
 * Return: ZM_OK in sync, or, in async mode, when what is left is copied in 5 seconds and no
 * signal has come; or, having told why, ZM_STOPPED when it cannot go on by itself,
 * ZM_NOT_FOUND when it is a mirror no more, ZM_INTERRUPTED by a signal, or ZM_FAILED.
 */
int zm_progress(struct zm_mirror *mirror, unsigned int rest);

/**
 * zm_verify_progress - show how a verify goes on, on standard error
 * @mirror: a mirror that is open; it is refreshed
 *
 * Return: as zm_progress(), ZM_OK when all that was asked for was looked at, whatever
 * was found, and ZM_STOPPED when the verify ends before that.
 */
int zm_verify_progress(struct zm_mirror *mirror);

#endif
