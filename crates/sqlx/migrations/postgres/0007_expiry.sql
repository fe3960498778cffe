-- An index for finding the tokens that expire soon, which is built after the transaction.
SELECT 1;
