/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all verbs that change devices do alike.
 */
#ifndef ZMIRROR_CHANGE_H
#define ZMIRROR_CHANGE_H

#include "mirror.h"
#include "plan.h"

/**
 * zm_run_file - open a file that lives until the machine does not
 * @name: its name in the directory /run/zmirror, made if it is not there
 *
 * Return: a descriptor to read from and write to; or -1, having told why.
 */
int zm_run_file(const char *name);

/**
 * zm_lock - have no other zmirror command change a device meanwhile
 * @dev: the device
 * @name: what users call it
 *
 * The lock ends with the process, however that ends.
 *
 * Return: ZM_OK; or, having told why, ZM_REFUSED when another one has it, or ZM_FAILED.
 */
int zm_lock(dev_t dev, const char *name);

/**
 * zm_open_locked - open a mirror, and keep others from changing it
 * @name: the mirror, as the user says
 * @mirror: is filled; zm_mirror_close() frees what it has
 *
 * Return: as zm_lock() and zm_mirror_open().
 */
int zm_open_locked(const char *name, struct zm_mirror *mirror);

/** zm_unlock - give back all locks, so that others may do something meanwhile */
void zm_unlock(void);

/**
 * zm_hold_signals - let no signal come between the steps of a plan
 *
 * Those that would end the program are kept until zm_let_signals(), and the programs that
 * it starts have them kept as well. Calls may be nested.
 */
void zm_hold_signals(void);

/** zm_signal_waits - whether one that ends the program is kept back */
bool zm_signal_waits(void);

/** zm_let_signals - let those that were kept come */
void zm_let_signals(void);

/**
 * zm_source_check - whether a device's table can be live under two devices for a moment
 * @dev: the device
 * @table: its table
 *
 * Both the device and the private one that is to take its table over have it then, but
 * only one of them has requests. Targets that keep a state of their own outside of what
 * they are on would have two of it.
 *
 * Return: ZM_OK, or ZM_REFUSED, having told why.
 */
int zm_source_check(const struct zm_dev *dev, const struct zm_table *table);

/**
 * zm_origin_find - find the private device of a device
 * @dev: the device, which need not be a mirror
 * @origin: is filled; its name is empty when there is none
 *
 * Return: ZM_OK or ZM_FAILED.
 */
int zm_origin_find(const struct zm_dev *dev, struct zm_dev *origin);

/**
 * zm_check_runs - refuse to work on a device that is suspended
 * @dev: a device
 *
 * To put another table in place resumes it, which is the business of whoever has
 * suspended it. One that does so for a moment, to take a snapshot for one, is waited for,
 * for 2 seconds.
 *
 * Return: ZM_OK; or ZM_REFUSED, having told what can be done.
 */
int zm_check_runs(const struct zm_dev *dev);

/**
 * zm_clean_up - remove what a command that was killed has left behind
 * @dev: a device that is no mirror
 *
 * That is a table which is loaded and not live, if it is a mirror's, and the private
 * device, if nothing is on it. It is refused for a device that is suspended.
 *
 * Return: ZM_OK, also when there was nothing; or, having told why, ZM_REFUSED or
 * ZM_FAILED.
 */
int zm_clean_up(const struct zm_dev *dev);

/**
 * zm_put_back - make a device live with a table, whatever it has now
 * @name: the device
 * @table: the table
 *
 * For the undoing of a failure. Does nothing but drop what is loaded when the table is
 * live and the device is not suspended.
 *
 * Return: ZM_OK or ZM_FAILED, having told so.
 */
int zm_put_back(const char *name, const struct zm_table *table);

/**
 * zm_is_mirror - whether a table is that of a mirror
 * @table: the table
 */
bool zm_is_mirror(const struct zm_table *table);

/**
 * zm_linear - a table that is one device
 * @table: is filled
 * @sectors: its length
 * @leg: the device, and where it starts
 */
void zm_linear(struct zm_table *table, uint64_t sectors, const struct zm_leg *leg);

#endif
