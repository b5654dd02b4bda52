"""The scripted caller and operator of `paycall demo` and of the panel's test call."""
