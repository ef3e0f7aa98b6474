/* The lines of a journal, written and read in C: what nodes/agent/journal.py does, with the same results. Part of the
 * compiled build (testbed/compiled.py).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MOST_KINDS 64
#define MOST_COLUMNS 16
#define HEADER_BYTES 8 /* of a journal's memory: the length of what is complete */

enum { NUMBER, FLAG, TEXT, OCTETS }; /* what a column holds: int, bool, str, bytes */

/* -- writing -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int field, place, holds; /* the place of its field, that in there of a nested tuple's (-1: it is none), what it holds */
} Column;

typedef struct {
    PyTypeObject *kind;
    PyObject *name; /* bytes */
    Py_ssize_t columns;
    Column column[MOST_COLUMNS];
} Form;

static Form forms[MOST_KINDS];
static int known_forms;

static PyObject *learn(PyObject *module, PyObject *form_of)
{
    PyObject *kind, *form, *columns;
    Py_ssize_t at = 0;
    known_forms = 0;
    while (PyDict_Next(form_of, &at, &kind, &form)) {
        Form *found = &forms[known_forms];
        PyObject *name;
        if (known_forms == MOST_KINDS || !PyArg_ParseTuple(form, "SO!", &name, &PyTuple_Type, &columns) ||
            (found->columns = PyTuple_GET_SIZE(columns)) > MOST_COLUMNS) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "more kinds or columns than there is room for");
            return NULL;
        }
        for (Py_ssize_t i = 0; i < found->columns; i++) {
            Column *column = &found->column[i];
            if (!PyArg_ParseTuple(PyTuple_GET_ITEM(columns, i), "iii", &column->field, &column->place, &column->holds))
                return NULL;
        }
        found->kind = (PyTypeObject *)Py_NewRef(kind); /* for good, as the kinds are */
        found->name = Py_NewRef(name);
        known_forms++;
    }
    Py_RETURN_NONE;
}

static const Form *form_of(PyTypeObject *kind)
{
    for (int i = 0; i < known_forms; i++)
        if (forms[i].kind == kind)
            return &forms[i];
    PyErr_SetObject(PyExc_KeyError, (PyObject *)kind);
    return NULL;
}

typedef struct {
    char *text;
    size_t used, room;
    int is_memory; /* somebody else's, which does not grow */
    int is_full;
} Lines;

static int make_room(Lines *out, size_t more)
{
    if (out->used + more <= out->room)
        return 0;
    if (out->is_memory) {
        out->is_full = 1;
        return -1;
    }
    size_t room = 2 * (out->used + more) + 4096;
    char *text = PyMem_Realloc(out->text, room);
    if (text == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->text = text;
    out->room = room;
    return 0;
}

static int put(Lines *out, const char *text, size_t size)
{
    if (make_room(out, size) < 0)
        return -1;
    memcpy(out->text + out->used, text, size);
    out->used += size;
    return 0;
}

static int put_number(Lines *out, PyObject *number)
{
    char digits[20], *at = digits + sizeof digits;
    int too_long;
    long long value = PyLong_AsLongLongAndOverflow(number, &too_long);
    if (value == -1 && !too_long && PyErr_Occurred())
        return -1;
    if (too_long) {
        PyObject *text = PyNumber_ToBase(number, 10);
        Py_ssize_t size;
        const char *written = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, &size);
        int failed = written == NULL || put(out, written, (size_t)size) < 0;
        Py_XDECREF(text);
        return failed ? -1 : 0;
    }
    unsigned long long rest = value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0 && put(out, "-", 1) < 0)
        return -1;
    return put(out, at, (size_t)(digits + sizeof digits - at));
}

static int is_escaped(char letter)
{
    return letter == '\\' || letter == '\t' || letter == '\n';
}

static int put_escaped(Lines *out, const char *from, size_t size)
{
    size_t more = 0;
    for (size_t i = 0; i < size; i++)
        more += (size_t)is_escaped(from[i]);
    if (more == 0)
        return put(out, from, size);
    if (make_room(out, size + more) < 0)
        return -1;
    for (const char *end = from + size; from < end; from++) {
        int escaped = is_escaped(*from);
        if (escaped)
            out->text[out->used++] = '\\';
        out->text[out->used++] = !escaped || *from == '\\' ? *from : *from == '\t' ? 't' : 'n';
    }
    return 0;
}

static int put_text(Lines *out, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%R is no text", text);
        return -1;
    }
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return put_escaped(out, (const char *)PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text));
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (encoded == NULL)
        return -1;
    int failed = put_escaped(out, PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded)) < 0;
    Py_DECREF(encoded);
    return failed ? -1 : 0;
}

static int put_octets(Lines *out, PyObject *octets)
{
    if (!PyBytes_Check(octets)) {
        PyErr_Format(PyExc_TypeError, "%R are no bytes", octets);
        return -1;
    }
    const unsigned char *from = (const unsigned char *)PyBytes_AS_STRING(octets);
    Py_ssize_t size = PyBytes_GET_SIZE(octets);
    if (make_room(out, 2 * (size_t)size) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < size; i++) {
        out->text[out->used++] = "0123456789abcdef"[from[i] >> 4];
        out->text[out->used++] = "0123456789abcdef"[from[i] & 15];
    }
    return 0;
}

static int put_column(Lines *out, PyObject *what, const Column *column)
{
    PyObject *value = column->field < PyTuple_GET_SIZE(what) ? PyTuple_GET_ITEM(what, column->field) : NULL;
    if (value != NULL && column->place >= 0) {
        if (value == Py_None)
            return put(out, "-1", 2);
        value = PyTuple_Check(value) && column->place < PyTuple_GET_SIZE(value) ? PyTuple_GET_ITEM(value, column->place)
                                                                               : NULL;
    }
    if (value == NULL) {
        PyErr_Format(PyExc_TypeError, "%R lacks a column", what);
        return -1;
    }
    switch (column->holds) {
    case TEXT:
        return put_text(out, value);
    case OCTETS:
        return put_octets(out, value);
    default:
        return put_number(out, value);
    }
}

static int put_row(Lines *out, PyObject *row)
{
    if (!PyTuple_Check(row) || PyTuple_GET_SIZE(row) != 2 || !PyTuple_Check(PyTuple_GET_ITEM(row, 1))) {
        PyErr_Format(PyExc_TypeError, "%R is no row", row);
        return -1;
    }
    PyObject *t_ns = PyTuple_GET_ITEM(row, 0), *what = PyTuple_GET_ITEM(row, 1);
    const Form *form = form_of(Py_TYPE(what));
    if (form == NULL || put_number(out, t_ns) < 0 || put(out, "\t", 1) < 0 ||
        put(out, PyBytes_AS_STRING(form->name), (size_t)PyBytes_GET_SIZE(form->name)) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < form->columns; i++)
        if (put(out, "\t", 1) < 0 || put_column(out, what, &form->column[i]) < 0)
            return -1;
    return put(out, "\n", 1);
}

static int put_rows(Lines *out, PyObject *rows)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(rows); i++)
        if (put_row(out, PyList_GET_ITEM(rows, i)) < 0)
            return -1;
    return 0;
}

static PyObject *encode(PyObject *module, PyObject *rows)
{
    static Lines out; /* the lines so far; it stays as large as it once had to be */
    if (!PyList_Check(rows))
        return PyErr_Format(PyExc_TypeError, "rows are a list");
    out.used = 0;
    if (put_rows(&out, rows) < 0)
        return NULL;
    return PyBytes_FromStringAndSize(out.text, (Py_ssize_t)out.used);
}

static PyObject *append(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer memory;
    if (count != 3 || !PyList_Check(args[2]))
        return PyErr_Format(PyExc_TypeError, "append takes memory, where its lines end, and a list of rows");
    Py_ssize_t end = PyLong_AsSsize_t(args[1]);
    if ((end == -1 && PyErr_Occurred()) || PyObject_GetBuffer(args[0], &memory, PyBUF_WRITABLE) < 0)
        return NULL;
    PyObject *result = NULL;
    if (end < HEADER_BYTES || end > memory.len)
        PyErr_SetString(PyExc_ValueError, "the lines end within the memory");
    else {
        Lines out = {(char *)memory.buf + end, 0, (size_t)(memory.len - end), 1, 0};
        if (put_rows(&out, args[2]) == 0) {
            end += (Py_ssize_t)out.used;
            *(volatile uint64_t *)memory.buf = (uint64_t)(end - HEADER_BYTES);
            result = PyLong_FromSsize_t(end);
        } else if (out.is_full)
            result = PyLong_FromLong(-1);
    }
    PyBuffer_Release(&memory);
    return result;
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject *bytes; /* a bytearray of 64-bit integers, with more room than is used */
    size_t used;
} Numbers;

typedef struct {
    const char *name; /* of the journal's text */
    size_t size;
    Py_ssize_t columns;
    int holds[MOST_COLUMNS];
    Numbers places, t_ns, numbers[MOST_COLUMNS];
    PyObject *objects[MOST_COLUMNS]; /* lists, of what is no number */
} Kind;

static int add_number(Numbers *numbers, int64_t number)
{
    size_t room = (size_t)PyByteArray_GET_SIZE(numbers->bytes);
    if (numbers->used + sizeof number > room && PyByteArray_Resize(numbers->bytes, (Py_ssize_t)(2 * room + 4096)) < 0)
        return -1;
    memcpy(PyByteArray_AS_STRING(numbers->bytes) + numbers->used, &number, sizeof number);
    numbers->used += sizeof number;
    return 0;
}

/* The decimal number that fills [at, end); whether it is one, and no longer than Python need not be asked. */
static int read_number(const char *at, const char *end, int64_t *number)
{
    int negative = at < end && *at == '-';
    at += negative;
    if (at == end || end - at > 18)
        return 0;
    int64_t value = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        value = 10 * value + (*at - '0');
    }
    *number = negative ? -value : value;
    return 1;
}

static int nibble(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* What is no number; NULL without an exception: Python is to look at it. */
static PyObject *read_object(int holds, const char *at, const char *end)
{
    if (holds == FLAG)
        return end - at == 1 && (*at == '0' || *at == '1') ? PyBool_FromLong(*at == '1') : NULL;
    if (holds == TEXT)
        return memchr(at, '\\', (size_t)(end - at)) ? NULL : PyUnicode_DecodeUTF8(at, end - at, "surrogatepass");
    if ((end - at) % 2)
        return NULL;
    PyObject *octets = PyBytes_FromStringAndSize(NULL, (end - at) / 2);
    if (octets == NULL)
        return NULL;
    for (char *to = PyBytes_AS_STRING(octets); at < end; at += 2) {
        int high = nibble(at[0]), low = nibble(at[1]);
        if (high < 0 || low < 0) {
            Py_DECREF(octets);
            return NULL;
        }
        *to++ = (char)(high << 4 | low);
    }
    return octets;
}

static int begin_kind(Kind *kind, const char *name, size_t size, PyObject *known)
{
    PyObject *key = PyBytes_FromStringAndSize(name, (Py_ssize_t)size);
    PyObject *columns = key == NULL ? NULL : PyDict_GetItemWithError(known, key);
    Py_XDECREF(key);
    if (columns == NULL || PyTuple_GET_SIZE(columns) > MOST_COLUMNS)
        return -1;
    *kind = (Kind){.name = name, .size = size, .columns = PyTuple_GET_SIZE(columns)};
    kind->places.bytes = PyByteArray_FromStringAndSize(NULL, 0);
    kind->t_ns.bytes = PyByteArray_FromStringAndSize(NULL, 0);
    if (kind->places.bytes == NULL || kind->t_ns.bytes == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < kind->columns; i++) {
        kind->holds[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(columns, i));
        if (kind->holds[i] == NUMBER)
            kind->numbers[i].bytes = PyByteArray_FromStringAndSize(NULL, 0);
        else
            kind->objects[i] = PyList_New(0);
        if (kind->numbers[i].bytes == NULL && kind->objects[i] == NULL)
            return -1;
    }
    return 0;
}

static int read_column(Kind *kind, Py_ssize_t i, const char *at, const char *end)
{
    if (kind->holds[i] == NUMBER) {
        int64_t number;
        return read_number(at, end, &number) ? add_number(&kind->numbers[i], number) : -1;
    }
    PyObject *object = read_object(kind->holds[i], at, end);
    int added = object == NULL ? -1 : PyList_Append(kind->objects[i], object);
    Py_XDECREF(object);
    return added;
}

/* Where the field that begins at ``at`` ends: at the next tab, or with the line. */
static const char *field_end(const char *at, const char *line_end)
{
    const char *tab = memchr(at, '\t', (size_t)(line_end - at));
    return tab == NULL ? line_end : tab;
}

/* One line; 0, or -1 with or without an exception: then Python is to look at it. */
static int read_line(const char *at, const char *end, int64_t place, Kind *kinds, int *count, PyObject *known)
{
    int64_t t_ns;
    const char *stop = field_end(at, end);
    if (stop == end || !read_number(at, stop, &t_ns))
        return -1;
    at = stop + 1;
    stop = field_end(at, end);
    size_t size = (size_t)(stop - at);
    int which = 0;
    while (which < *count && (kinds[which].size != size || memcmp(kinds[which].name, at, size) != 0))
        which++;
    if (which == *count) {
        if (which == MOST_KINDS)
            return -1;
        ++*count;
        if (begin_kind(&kinds[which], at, size, known) < 0)
            return -1;
    }
    Kind *kind = &kinds[which];
    if (add_number(&kind->places, place) < 0 || add_number(&kind->t_ns, t_ns) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < kind->columns; i++) {
        if (stop == end)
            return -1;
        at = stop + 1;
        stop = field_end(at, end);
        if (read_column(kind, i, at, stop) < 0)
            return -1;
    }
    return stop == end ? 0 : -1;
}

static PyObject *whole(Numbers *numbers)
{
    return PyByteArray_Resize(numbers->bytes, (Py_ssize_t)numbers->used) < 0 ? NULL : Py_NewRef(numbers->bytes);
}

static PyObject *found(Kind *kinds, int count)
{
    PyObject *all = PyList_New(0);
    for (int which = 0; all != NULL && which < count; which++) {
        Kind *kind = &kinds[which];
        PyObject *columns = PyList_New(kind->columns);
        for (Py_ssize_t i = 0; columns != NULL && i < kind->columns; i++)
            PyList_SET_ITEM(columns, i, kind->objects[i] ? Py_NewRef(kind->objects[i]) : whole(&kind->numbers[i]));
        PyObject *one = columns == NULL ? NULL : Py_BuildValue(
            "s#NNN", kind->name, (Py_ssize_t)kind->size, whole(&kind->places), whole(&kind->t_ns), columns);
        if (one == NULL || PyList_Append(all, one) < 0)
            Py_CLEAR(all);
        Py_XDECREF(one);
    }
    return all;
}

static PyObject *decode(PyObject *module, PyObject *args)
{
    PyObject *data, *known, *all = NULL;
    if (!PyArg_ParseTuple(args, "SO!", &data, &PyDict_Type, &known))
        return NULL;
    Kind *kinds = PyMem_Calloc(MOST_KINDS, sizeof(Kind));
    if (kinds == NULL)
        return PyErr_NoMemory();
    const char *at = PyBytes_AS_STRING(data), *end = at + PyBytes_GET_SIZE(data);
    int count = 0, failed = 0;
    for (int64_t place = 0; at < end && !failed; place++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) /* what is behind the last whole line is no row */
            break;
        failed = read_line(at, line_end, place, kinds, &count, known) < 0;
        at = line_end + 1;
    }
    if (!failed)
        all = found(kinds, count);
    for (int which = 0; which < count; which++) {
        Py_XDECREF(kinds[which].places.bytes);
        Py_XDECREF(kinds[which].t_ns.bytes);
        for (Py_ssize_t i = 0; i < kinds[which].columns; i++) {
            Py_XDECREF(kinds[which].numbers[i].bytes);
            Py_XDECREF(kinds[which].objects[i]);
        }
    }
    PyMem_Free(kinds);
    if (all == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return all;
}

static PyMethodDef functions[] = {
    {"learn", learn, METH_O, "How kinds are written, for good: a dict, kind -> (name, columns)."},
    {"encode", encode, METH_O, "The lines of rows (t_ns, what)."},
    {"append", (PyCFunction)(void (*)(void))append, METH_FASTCALL,
     "Writes lines of rows into memory behind those that end there; where they end then, -1 where there is no room."},
    {"decode", decode, METH_VARARGS,
     "The rows of whole lines: a list of (name, places, t_ns, columns), numbers as the bytes of 64-bit integers; by a "
     "dict: name -> what its columns hold. None where Python has to look."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "oae_journal", "The lines of a journal, in C.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_oae_journal(void)
{
    return PyModule_Create(&definition);
}
