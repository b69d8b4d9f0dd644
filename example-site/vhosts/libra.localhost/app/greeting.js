module.exports = 'In balance again'
