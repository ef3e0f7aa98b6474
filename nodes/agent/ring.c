/* Rings of received frames, in C: what PlainRing of nodes/agent/ring.py does, with the same results. Part of the compiled
 * build (testbed/compiled.py).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <linux/if_packet.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    Py_buffer memory;
    Py_ssize_t slot, at;
    char lost_some;
} Ring;

static struct tpacket2_hdr *head(Ring *ring)
{
    return (struct tpacket2_hdr *)((char *)ring->memory.buf + ring->at);
}

static PyObject *new_ring(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *memory;
    Py_ssize_t slot;
    if (!PyArg_ParseTuple(args, "On", &memory, &slot))
        return NULL;
    Ring *ring = (Ring *)type->tp_alloc(type, 0);
    if (ring == NULL || PyObject_GetBuffer(memory, &ring->memory, PyBUF_WRITABLE) < 0) {
        Py_XDECREF(ring);
        return NULL;
    }
    if (slot < (Py_ssize_t)sizeof(struct tpacket2_hdr) || slot > ring->memory.len) {
        Py_DECREF(ring);
        return PyErr_Format(PyExc_ValueError, "slots of %zd bytes in a ring of %zd", slot, ring->memory.len);
    }
    ring->slot = slot;
    return (PyObject *)ring;
}

static void free_ring(Ring *ring)
{
    PyBuffer_Release(&ring->memory);
    Py_TYPE(ring)->tp_free(ring);
}

static PyObject *head_ns(Ring *ring, PyObject *nothing)
{
    const struct tpacket2_hdr *oldest = head(ring);
    if (!(__atomic_load_n(&oldest->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
        return PyLong_FromLong(-1);
    return PyLong_FromLongLong(oldest->tp_sec * 1000000000LL + oldest->tp_nsec);
}

static PyObject *take(Ring *ring, PyObject *nothing)
{
    struct tpacket2_hdr *oldest = head(ring);
    if (ring->at + oldest->tp_mac + (Py_ssize_t)oldest->tp_snaplen > ring->memory.len)
        return PyErr_Format(PyExc_ValueError, "a frame that ends behind the ring");
    PyObject *wire = PyBytes_FromStringAndSize((char *)oldest + oldest->tp_mac, (Py_ssize_t)oldest->tp_snaplen);
    if (wire == NULL)
        return NULL;
    ring->lost_some = (oldest->tp_status & TP_STATUS_LOSING) != 0;
    __atomic_store_n(&oldest->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    ring->at = ring->at + ring->slot < ring->memory.len ? ring->at + ring->slot : 0;
    return wire;
}

static PyMethodDef methods[] = {
    {"head_ns", (PyCFunction)head_ns, METH_NOARGS, "The stamp of the oldest frame that waits, -1 when none does."},
    {"take", (PyCFunction)take, METH_NOARGS, "The oldest frame that waits, out of the ring."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"lost_some", T_BOOL, offsetof(Ring, lost_some), READONLY, "Whether some were lost before the one taken last."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject ring_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "oae_ring.Ring",
    .tp_doc = "A ring in memory (a writable buffer) of slots of so many bytes.",
    .tp_basicsize = sizeof(Ring),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = new_ring,
    .tp_dealloc = (destructor)free_ring,
    .tp_methods = methods,
    .tp_members = members,
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "oae_ring", "Rings of received frames, in C.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_oae_ring(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddType(module, &ring_type) < 0)
        Py_CLEAR(module);
    return module;
}
