exports.greeting = 'Hello from the ram'
