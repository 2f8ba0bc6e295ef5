"""How many threads computations take unless told otherwise."""

try:
    from numba import config

    N_THREADS: int = (
        config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba sets it as it is imported
    )  # processor cores this process may use, or the variable of that name
except ImportError:  # e.g. in a browser: Pyodide has neither numba nor threads
    N_THREADS = 1
